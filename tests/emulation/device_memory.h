#pragma once

#include <type_traits>

namespace gorgon::emulation {

// The emulated device's memory is pages of its own that are closed to the process unless a kernel, a library
// call's stand-in or a copy is at work: host code that touches device memory crashes here as it would on a
// GPU, and so do kernels that read or write past the end of a buffer or after its release.
class KernelAccess {
 public:
  KernelAccess();
  ~KernelAccess();
  KernelAccess(const KernelAccess&) = delete;
  KernelAccess& operator=(const KernelAccess&) = delete;
};

// Throws Error(internal) unless the pointer is null or leads into a live buffer of the emulated device.
void check_device_pointer(const void* pointer);

template <typename T>
void check_argument(const T& value) {
  if constexpr (std::is_pointer_v<T>) check_device_pointer(value);
}

}  // namespace gorgon::emulation
