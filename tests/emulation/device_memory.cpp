#include "tests/emulation/device_memory.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "kernels/device.h"
#include "kernels/error.h"

namespace gorgon {

namespace {

constexpr size_t kAlignment = 64;

struct Buffer {
  std::byte* pages;
  size_t page_bytes;
  size_t bytes;
};

// Every live buffer of the emulated device, by the address handed out.
struct DeviceMemory {
  std::recursive_mutex mutex;
  std::map<const std::byte*, Buffer> buffers;
  int open = 0;  // nesting of KernelAccess

  void protect(int protection) {
    for (const auto& [address, buffer] : buffers) mprotect(buffer.pages, buffer.page_bytes, protection);
  }
};
DeviceMemory& memory() {
  static DeviceMemory instance;
  return instance;
}
size_t round_up(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

namespace emulation {

KernelAccess::KernelAccess() {
  memory().mutex.lock();
  if (memory().open++ == 0) memory().protect(PROT_READ | PROT_WRITE);
}
KernelAccess::~KernelAccess() {
  if (--memory().open == 0) memory().protect(PROT_NONE);
  memory().mutex.unlock();
}

void check_device_pointer(const void* pointer) {
  if (pointer == nullptr) return;
  const auto* p = static_cast<const std::byte*>(pointer);
  const std::lock_guard lock(memory().mutex);
  auto after = memory().buffers.upper_bound(p);
  if (after != memory().buffers.begin()) {
    const auto& [address, buffer] = *std::prev(after);
    if (p <= address + buffer.bytes) return;  // the end is a place too, for empty views
  }
  fail_internal("emulated device", "a kernel's argument is a pointer into host memory");
}

}  // namespace emulation

// The functions of kernels/device.h's CUDA backend, on the emulated device 0.
namespace cuda {

bool is_built() {
  return true;
}
int device_count() {
  return 1;
}

void* allocate(int, int64_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t used = round_up(static_cast<size_t>(bytes), kAlignment);
  const size_t pages = round_up(used, page);
  // The buffer ends where its last page ends; the page after it stays closed.
  void* start = mmap(nullptr, pages + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) fail(ExitCode::resource, {"", "device memory", std::to_string(bytes), "none", ""});
  auto* first = static_cast<std::byte*>(start);
  mprotect(first, pages, PROT_READ | PROT_WRITE);
  std::memset(first, 0xff, pages);  // NaN: what is read before it is written shows
  const std::lock_guard lock(memory().mutex);
  mprotect(first, pages, memory().open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
  memory().buffers[first + pages - used] = {first, pages, static_cast<size_t>(bytes)};
  return first + pages - used;
}

void release(int, void* data) noexcept {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const std::lock_guard lock(memory().mutex);
  const auto found = memory().buffers.find(static_cast<const std::byte*>(data));
  if (found == memory().buffers.end()) std::abort();  // released twice, or never allocated here
  munmap(found->second.pages, found->second.page_bytes + page);
  memory().buffers.erase(found);
}

void copy_bytes(Device to, void* destination, Device from, const void* source, int64_t bytes) {
  if (to.kind == DeviceKind::cuda) emulation::check_device_pointer(destination);
  if (from.kind == DeviceKind::cuda) emulation::check_device_pointer(source);
  const emulation::KernelAccess access;
  std::memcpy(destination, source, static_cast<size_t>(bytes));
}

void zero_bytes(int, void* destination, int64_t bytes) {
  const emulation::KernelAccess access;
  std::memset(destination, 0, static_cast<size_t>(bytes));
}

void* create_stream(int) {
  return nullptr;
}
void destroy_stream(int, void*) noexcept {}
void synchronize(int, void*) {}

}  // namespace cuda
}  // namespace gorgon
