#pragma once

#include <cstdint>
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

// What the host asked of the emulated device so far; a step that runs on without waiting adds to uploads and
// readbacks alone.
struct HostCalls {
  int64_t synchronisations = 0;  // the host waits for all that was asked, blocking copies among them
  int64_t allocations = 0;
  int64_t uploads = 0, readbacks = 0;  // in the stream's order
  int64_t bytes = 0, peak_bytes = 0;   // of live buffers
};
HostCalls& host_calls();

// Allocations beyond this many live bytes find no memory; 0 = no limit.
void set_device_memory(int64_t bytes);

// Throws Error(internal) unless the pointer is null or leads into a live buffer of the emulated device.
void check_device_pointer(const void* pointer);

template <typename T>
void check_argument(const T& value) {
  if constexpr (std::is_pointer_v<T>) check_device_pointer(value);
}

}  // namespace gorgon::emulation
