#include "kernels/device.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "kernels/error.h"
#include "kernels/host_memory.h"
#include "kernels/thread_pool.h"
#include "kernels/workspace.h"

namespace gorgon {

namespace {

constexpr size_t kAlignment = 64;

std::string mebibytes(int64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

[[noreturn]] void out_of_memory(Device device, int64_t bytes, const Purpose& purpose,
                                const std::string& details) {
  std::string found = "too little free memory";
  if (device.kind == DeviceKind::cuda) {
    const cuda::MemoryState state = cuda::memory_state(device.index);
    found = mebibytes(state.free) + " free of " + mebibytes(state.total);
  } else if (const std::optional<int64_t> free = free_host_bytes()) {
    found = mebibytes(*free) + " free";
  }
  const std::string what = std::string(purpose.name) + (details.empty() ? "" : " " + details);
  fail(ExitCode::resource,
       {to_string(device), "memory", mebibytes(bytes) + " for " + what, found, purpose.remedy});
}

}  // namespace

std::string to_string(Device device) {
  return device.kind == DeviceKind::cpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

Device parse_device(const std::string& name) {
  if (name == "cpu") return {};
  if (name == "auto") {
    if (cuda::is_built() && cuda::device_count() > 0) return {DeviceKind::cuda, 0};
    return {};
  }
  if (name.rfind("cuda", 0) != 0) {
    fail(ExitCode::config, {"", "device", "auto, cpu, cuda or cuda:N", quote_value(name), ""});
  }
  int index = 0;
  if (name.size() > 4) {
    char* end = nullptr;
    const long parsed = name[4] == ':' ? std::strtol(name.c_str() + 5, &end, 10) : -1;
    if (end == nullptr || *end != '\0' || end == name.c_str() + 5 || parsed < 0 || parsed > 1023) {
      fail(ExitCode::config, {"", "device", "auto, cpu, cuda or cuda:N", quote_value(name), ""});
    }
    index = static_cast<int>(parsed);
  }
  if (!cuda::is_built()) {
    fail(ExitCode::resource, {"", "device", "a build with CUDA", quote_value(name),
                              "build with GORGON_CUDA=ON, or set device: cpu"});
  }
  if (cuda::device_count() == 0) {
    fail(ExitCode::resource, {"", "device", "a GPU", quote_value(name) + ", and none answers",
                              "check nvidia-smi, or set device: cpu"});
  }
  if (index >= cuda::device_count()) {
    fail(ExitCode::resource, {"", "device", std::to_string(cuda::device_count()) + " GPUs at most",
                              quote_value(name), "choose another one, or set device: cpu"});
  }
  return {DeviceKind::cuda, index};
}

Stream::Stream(Device device, int threads) : Stream(device, StreamOptions{.threads = threads}) {}

Stream::Stream(Device device, StreamOptions options)
    : device_(device),
      options_(std::move(options)),
      threads_(std::make_unique<ThreadPool>(options_.threads)),
      arena_(std::make_unique<Arena>(device)) {
  if (device.kind == DeviceKind::cuda) native_ = cuda::create_stream(device.index);
}

Stream::~Stream() {
  arena_.reset();
  release(device_, scratch_);
  if (device_.kind == DeviceKind::cuda) cuda::destroy_stream(device_.index, native_);
}

void* Stream::scratch(int64_t bytes) const {
  if (bytes > scratch_bytes_) {
    release(device_, scratch_);
    scratch_ = nullptr;
    scratch_bytes_ = 0;
    scratch_ = allocate(device_, bytes);
    scratch_bytes_ = bytes;
  }
  return scratch_;
}

void Stream::synchronize() const {
  if (device_.kind == DeviceKind::cuda) cuda::synchronize(device_.index, native_);
}

void* allocate(Device device, int64_t bytes, const Purpose& purpose, const std::string& details) {
  require(bytes >= 0, "allocate", "negative size");
  if (bytes == 0) return nullptr;
  const size_t padded = (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
  void* data = device.kind == DeviceKind::cuda ? cuda::allocate(device.index, bytes)
                                               : std::aligned_alloc(kAlignment, padded);
  if (data == nullptr) out_of_memory(device, bytes, purpose, details);
  return data;
}

void release(Device device, void* data) noexcept {
  if (data == nullptr) return;
  if (device.kind == DeviceKind::cuda) {
    cuda::release(device.index, data);
  } else {
    std::free(data);
  }
}

void copy_bytes(Device to, void* destination, Device from, const void* source, int64_t bytes) {
  if (bytes == 0) return;
  if (to.kind == DeviceKind::cpu && from.kind == DeviceKind::cpu) {
    std::memcpy(destination, source, static_cast<size_t>(bytes));
  } else {
    cuda::copy_bytes(to, destination, from, source, bytes);
  }
}

void zero_bytes(Device device, void* destination, int64_t bytes) {
  if (bytes == 0) return;
  if (device.kind == DeviceKind::cpu) {
    std::memset(destination, 0, static_cast<size_t>(bytes));
  } else {
    cuda::zero_bytes(device.index, destination, bytes);
  }
}

}  // namespace gorgon
