#include "kernels/cuda/queue.h"
#include "kernels/side_queue.h"

namespace gorgon::cuda {
namespace {

cudaEvent_t event_in(cudaStream_t stream, unsigned flags = cudaEventDisableTiming) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, flags), "cudaEventCreate");
  check(cudaEventRecord(event, stream), "cudaEventRecord");
  return event;
}

}  // namespace

// A blocking queue, as a stream's own: memory that is released waits for both.
void* create_side_queue(int index) {
  select_device(index);
  cudaStream_t queue = nullptr;
  check(cudaStreamCreate(&queue), "cudaStreamCreate");
  return queue;
}

void destroy_side_queue(int index, void* queue) noexcept {
  if (cudaSetDevice(index) != cudaSuccess) return;
  cudaStreamSynchronize(static_cast<cudaStream_t>(queue));
  cudaStreamDestroy(static_cast<cudaStream_t>(queue));
}

void synchronize_side_queue(int index, void* queue) {
  select_device(index);
  check(cudaStreamSynchronize(static_cast<cudaStream_t>(queue)), "cudaStreamSynchronize");
}

void follow(int index, void* queue, const Stream& stream) {
  select_device(index);
  cudaEvent_t event = event_in(queue_of(stream).stream);
  check(cudaStreamWaitEvent(static_cast<cudaStream_t>(queue), event, 0), "cudaStreamWaitEvent");
  cudaEventDestroy(event);  // when it has passed
}

void follow(const Stream& later, const Stream& earlier) {
  const Queue& queue = queue_of(later);
  follow(queue.device, queue.stream, earlier);
}

void* create_mark(int index, void* queue) {
  select_device(index);
  return event_in(static_cast<cudaStream_t>(queue));
}

void destroy_mark(int index, void* mark) noexcept {
  if (cudaSetDevice(index) == cudaSuccess) cudaEventDestroy(static_cast<cudaEvent_t>(mark));
}

void hold(const Stream& stream, void* mark) {
  const Queue& queue = queue_of(stream);
  select_device(queue.device);
  check(cudaStreamWaitEvent(queue.stream, static_cast<cudaEvent_t>(mark), 0), "cudaStreamWaitEvent");
}

bool passed(int index, void* mark) noexcept {
  if (cudaSetDevice(index) != cudaSuccess) return true;
  const cudaError_t status = cudaEventQuery(static_cast<cudaEvent_t>(mark));
  if (status != cudaSuccess) cudaGetLastError();  // this thread's next call starts clean
  return status != cudaErrorNotReady;
}

void* create_time(const Stream& stream) {
  const Queue& queue = queue_of(stream);
  select_device(queue.device);
  return event_in(queue.stream, cudaEventDefault);
}

double seconds_between(int index, void* begin, void* end) noexcept {
  if (!passed(index, end)) return -1;
  float milliseconds = 0;
  const cudaError_t status =
      cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin), static_cast<cudaEvent_t>(end));
  if (status != cudaSuccess) cudaGetLastError();  // the device has failed: the next call tells
  return status == cudaSuccess ? static_cast<double>(milliseconds) / 1e3 : 0;
}

}  // namespace gorgon::cuda
