#include "tests/emulation/device_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "kernels/device.h"
#include "kernels/error.h"
#include "kernels/side_queue.h"
#include "kernels/transfer.h"

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
  const int64_t limit = memory().limit;
  if (limit > 0 && emulation::host_calls().bytes + bytes > limit) return nullptr;
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
  emulation::HostCalls& calls = emulation::host_calls();
  ++calls.allocations;
  calls.bytes += bytes;
  calls.peak_bytes = std::max(calls.peak_bytes, calls.bytes);
  return first + pages - used;
}

void release(int, void* data) noexcept {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const std::lock_guard lock(memory().mutex);
  const auto found = memory().buffers.find(static_cast<const std::byte*>(data));
  if (found == memory().buffers.end()) std::abort();  // released twice, or never allocated here
  emulation::host_calls().bytes -= static_cast<int64_t>(found->second.bytes);
  munmap(found->second.pages, found->second.page_bytes + page);
  memory().buffers.erase(found);
}

void copy_bytes(Device to, void* destination, Device from, const void* source, int64_t bytes) {
  if (to.kind == DeviceKind::cuda) emulation::check_device_pointer(destination);
  if (from.kind == DeviceKind::cuda) emulation::check_device_pointer(source);
  ++emulation::host_calls().synchronisations;
  const emulation::KernelAccess access;
  std::memcpy(destination, source, static_cast<size_t>(bytes));
}

// On a GPU it takes its place in another stream, which waits for this one.
void zero_bytes(int, void* destination, int64_t bytes) {
  ++emulation::host_calls().synchronisations;
  const emulation::KernelAccess access;
  std::memset(destination, 0, static_cast<size_t>(bytes));
}

void* create_stream(int) {
  return nullptr;
}
void destroy_stream(int, void*) noexcept {}
// What is put into a queue is done when the call returns.
void* create_side_queue(int) {
  return nullptr;
}
void destroy_side_queue(int, void*) noexcept {}
void follow(int, void*, const Stream&) {}
void* create_mark(int, void*) {
  return nullptr;
}
void destroy_mark(int, void*) noexcept {}
void hold(const Stream&, void*) {}
void synchronize(int, void*) {
  ++emulation::host_calls().synchronisations;
}

MemoryState memory_state(int) {
  return {memory().limit - emulation::host_calls().bytes, memory().limit};
}

void upload(const void* source, void* to, int64_t bytes, const Stream&) {
  emulation::check_device_pointer(to);
  ++emulation::host_calls().uploads;
  const emulation::KernelAccess access;
  std::memcpy(to, source, static_cast<size_t>(bytes));
}

void copy_rows(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t bytes,
               int64_t rows, const Stream&) {
  emulation::check_device_pointer(from);
  emulation::check_device_pointer(to);
  const emulation::KernelAccess access;
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(static_cast<std::byte*>(to) + i * to_stride,
                static_cast<const std::byte*>(from) + i * from_stride, static_cast<size_t>(bytes));
  }
}

void zero(void* to, int64_t bytes, const Stream&) {
  emulation::check_device_pointer(to);
  const emulation::KernelAccess access;
  std::memset(to, 0, static_cast<size_t>(bytes));
}

void* create_readback(int, int64_t bytes) {
  return new std::vector<std::byte>(static_cast<size_t>(bytes));
}
void destroy_readback(int, void* readback) noexcept {
  delete static_cast<std::vector<std::byte>*>(readback);
}
void start_readback(void* readback, const void* from, const Stream&) {
  emulation::check_device_pointer(from);
  auto& host = *static_cast<std::vector<std::byte>*>(readback);
  const emulation::KernelAccess access;
  std::memcpy(host.data(), from, host.size());
}
const std::byte* wait_readback(int, void* readback) {
  ++emulation::host_calls().readbacks;
  return static_cast<std::vector<std::byte>*>(readback)->data();
}

}  // namespace cuda
}  // namespace gorgon
