#include "tests/emulation/device_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include <sys/mman.h>
#include <unistd.h>

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
  int64_t limit = 0;

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

HostCalls& host_calls() {
  static HostCalls calls;
  return calls;
}

void set_device_memory(int64_t bytes) {
  memory().limit = bytes;
}

KernelAccess::KernelAccess() {
  memory().mutex.lock();
  if (memory().open++ == 0) memory().protect(PROT_READ | PROT_WRITE);
}
KernelAccess::~KernelAccess() {
  if (--memory().open == 0) memory().protect(PROT_NONE);
  memory().mutex.unlock();
}

int64_t device_memory_limit() {
  return memory().limit;
}

bool is_device_pointer(const void* pointer) {
  const auto* p = static_cast<const std::byte*>(pointer);
  const std::lock_guard lock(memory().mutex);
  auto after = memory().buffers.upper_bound(p);
  if (after == memory().buffers.begin()) return false;
  const auto& [address, buffer] = *std::prev(after);
  return p <= address + buffer.bytes;  // the end is a place too, for empty views
}

void check_device_pointer(const void* pointer) {
  if (pointer == nullptr || is_device_pointer(pointer)) return;
  fail_internal("emulated device", "a pointer into host memory where one of the device is wanted");
}

void* allocate_memory(int64_t bytes) {
  const int64_t limit = memory().limit;
  if (limit > 0 && host_calls().bytes + bytes > limit) return nullptr;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t used = round_up(static_cast<size_t>(bytes), kAlignment);
  const size_t pages = round_up(used, page);
  // The buffer ends where its last page ends; the page after it stays closed.
  void* start = mmap(nullptr, pages + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  auto* first = static_cast<std::byte*>(start);
  if (!is_dry()) {
    mprotect(first, pages, PROT_READ | PROT_WRITE);
    std::memset(first, 0xff, pages);  // NaN: what is read before it is written shows
  }
  const std::lock_guard lock(memory().mutex);
  mprotect(first, pages, memory().open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
  memory().buffers[first + pages - used] = {first, pages, static_cast<size_t>(bytes)};
  HostCalls& calls = host_calls();
  ++calls.allocations;
  calls.bytes += bytes;
  calls.peak_bytes = std::max(calls.peak_bytes, calls.bytes);
  return first + pages - used;
}

void release_memory(void* data) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const std::lock_guard lock(memory().mutex);
  const auto found = memory().buffers.find(static_cast<const std::byte*>(data));
  if (found == memory().buffers.end()) std::abort();  // released twice, or never allocated here
  host_calls().bytes -= static_cast<int64_t>(found->second.bytes);
  munmap(found->second.pages, found->second.page_bytes + page);
  memory().buffers.erase(found);
}

}  // namespace emulation
}  // namespace gorgon
