#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/cuda/queue.h"
#include "kernels/cuda/staging.h"
#include "kernels/error.h"
#include "kernels/transfer.h"

namespace gorgon::cuda {

namespace {

constexpr size_t kSmallestSlot = size_t{16} << 10;

// Page-locked host memory and the event behind the copy that used it last.
struct Pinned {
  std::byte* data = nullptr;
  size_t bytes = 0;
  cudaEvent_t event = nullptr;

  void reserve(size_t wanted) {
    if (event == nullptr) check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
    if (wanted <= bytes) return;
    release_memory();
    const size_t size = std::bit_ceil(std::max(wanted, kSmallestSlot));
    check(cudaHostAlloc(reinterpret_cast<void**>(&data), size, cudaHostAllocDefault), "cudaHostAlloc");
    bytes = size;
  }
  void release_memory() {
    if (data != nullptr) cudaFreeHost(data);
    data = nullptr;
    bytes = 0;
  }
  void release() {
    release_memory();
    if (event != nullptr) cudaEventDestroy(event);
    event = nullptr;
  }
};

struct HostCopy {
  Pinned memory;
  size_t bytes = 0;
};

}  // namespace

struct Staging::Slots {
  static constexpr size_t kCount = 256;
  Pinned slot[kCount];
  size_t next = 0;
};

Staging::Staging() : slots_(std::make_unique<Slots>()) {}

Staging::~Staging() {
  for (Pinned& slot : slots_->slot) slot.release();
}

void Staging::upload(const void* source, void* to, size_t bytes, cudaStream_t stream) {
  Pinned& slot = slots_->slot[slots_->next++ % Slots::kCount];
  if (slot.event != nullptr) check(cudaEventSynchronize(slot.event), "cudaEventSynchronize");
  slot.reserve(bytes);
  std::memcpy(slot.data, source, bytes);
  check(cudaMemcpyAsync(to, slot.data, bytes, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
  check(cudaEventRecord(slot.event, stream), "cudaEventRecord");
}

void upload(const void* source, void* to, int64_t bytes, const Stream& stream) {
  Queue& queue = queue_of(stream);
  select_device(queue.device);
  if (queue.staging == nullptr) queue.staging = std::make_unique<Staging>();
  queue.staging->upload(source, to, static_cast<size_t>(bytes), queue.stream);
}

void copy_rows(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t bytes,
               int64_t rows, const Stream& stream) {
  const Queue& queue = queue_of(stream);
  select_device(queue.device);
  const auto width = static_cast<size_t>(bytes), height = static_cast<size_t>(rows);
  // Pitches have a limit, which one long row does not need.
  const cudaError_t status =
      rows == 1
          ? cudaMemcpyAsync(to, from, width, cudaMemcpyDeviceToDevice, queue.stream)
          : cudaMemcpy2DAsync(to, static_cast<size_t>(to_stride), from, static_cast<size_t>(from_stride),
                              width, height, cudaMemcpyDeviceToDevice, queue.stream);
  check(status, "cudaMemcpy2DAsync");
}

void zero(void* to, int64_t bytes, const Stream& stream) {
  const Queue& queue = queue_of(stream);
  select_device(queue.device);
  check(cudaMemsetAsync(to, 0, static_cast<size_t>(bytes), queue.stream), "cudaMemsetAsync");
}

void* create_readback(int index, int64_t bytes) {
  select_device(index);
  auto made = std::make_unique<HostCopy>();
  made->bytes = static_cast<size_t>(bytes);
  made->memory.reserve(made->bytes);
  return made.release();
}

void destroy_readback(int index, void* readback) noexcept {
  if (cudaSetDevice(index) != cudaSuccess) return;
  auto* copy = static_cast<HostCopy*>(readback);
  cudaEventSynchronize(copy->memory.event);
  copy->memory.release();
  delete copy;
}

void start_readback(void* readback, const void* from, const Stream& stream) {
  const Queue& queue = queue_of(stream);
  select_device(queue.device);
  auto* copy = static_cast<HostCopy*>(readback);
  check(cudaMemcpyAsync(copy->memory.data, from, copy->bytes, cudaMemcpyDeviceToHost, queue.stream),
        "cudaMemcpyAsync");
  check(cudaEventRecord(copy->memory.event, queue.stream), "cudaEventRecord");
}

const std::byte* wait_readback(int index, void* readback) {
  select_device(index);
  auto* copy = static_cast<HostCopy*>(readback);
  check(cudaEventSynchronize(copy->memory.event), "cudaEventSynchronize");
  return copy->memory.data;
}

}  // namespace gorgon::cuda
