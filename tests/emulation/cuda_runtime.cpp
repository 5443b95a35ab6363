#include "tests/emulation/cuda_runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

#include "tests/emulation/device_memory.h"
#include "tests/emulation/streams.h"

using namespace gorgon::emulation;

namespace {

std::set<const void*>& pinned() {
  static std::set<const void*> memory;
  return memory;
}

cudaError_t forbidden_in_capture(StreamState* stream) {
  return breaks_capture(stream) ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

void copy(void* to, const void* from, size_t bytes) {
  const KernelAccess access;
  std::memcpy(to, from, bytes);
}

}  // namespace

cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation"
                                            : "an error of the emulated runtime";
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory" : "refused";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) {
  return index == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMemoryPoolsSupported ? 1 : host_calls().capability[attribute - 1];
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  if (const cudaError_t status = forbidden_in_capture(nullptr)) return status;
  *data = allocate_memory(static_cast<int64_t>(bytes));
  return *data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaMallocAsync(void** data, size_t bytes, cudaStream_t) {
  return cudaMalloc(data, bytes);
}
cudaError_t cudaFree(void* data) {
  if (data == nullptr) return cudaSuccess;
  if (const cudaError_t status = forbidden_in_capture(nullptr)) return status;
  run_all();
  release_memory(data);
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t) {
  return cudaFree(data);
}
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  *data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  pinned().insert(*data);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  pinned().erase(data);
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *total_bytes = static_cast<size_t>(device_memory_limit());
  *free_bytes = static_cast<size_t>(std::max<int64_t>(0, device_memory_limit() - host_calls().bytes));
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (const cudaError_t status = forbidden_in_capture(nullptr)) return status;
  ++host_calls().synchronisations;
  run_all();
  if (is_dry()) {
    if (!is_device_pointer(to)) std::memset(to, 0, bytes);
  } else {
    copy(to, from, bytes);
  }
  return cudaSuccess;
}
// In the default stream, behind what all others have to do.
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  if (const cudaError_t status = forbidden_in_capture(nullptr)) return status;
  ++host_calls().synchronisations;
  check_device_pointer(to);
  run_all();
  if (is_dry()) return cudaSuccess;
  const KernelAccess access;
  std::memset(to, value, bytes);
  return cudaSuccess;
}
// Copies that do not wait need page-locked memory on the host's side.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const void* host = kind == cudaMemcpyHostToDevice ? from : kind == cudaMemcpyDeviceToHost ? to : nullptr;
  if (host != nullptr && !pinned().contains(host)) return cudaErrorInvalidValue;
  if (kind != cudaMemcpyHostToDevice) check_device_pointer(from);
  if (kind != cudaMemcpyDeviceToHost) check_device_pointer(to);
  host_calls().uploads += kind == cudaMemcpyHostToDevice ? 1 : 0;
  host_calls().readbacks += kind == cudaMemcpyDeviceToHost ? 1 : 0;
  if (is_dry() && kind == cudaMemcpyDeviceToHost) std::memset(to, 0, bytes);
  enqueue(stream, [=] { copy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind, cudaStream_t stream) {
  check_device_pointer(from);
  check_device_pointer(to);
  if (to_pitch < width || from_pitch < width) return cudaErrorInvalidValue;
  enqueue(stream, [=] {
    const KernelAccess access;
    for (size_t i = 0; i < height; ++i) {
      std::memcpy(static_cast<std::byte*>(to) + i * to_pitch,
                  static_cast<const std::byte*>(from) + i * from_pitch, width);
    }
  });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  check_device_pointer(to);
  enqueue(stream, [=] {
    const KernelAccess access;
    std::memset(to, value, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = create_stream();
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  destroy_stream(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t status = forbidden_in_capture(stream)) return status;
  ++host_calls().synchronisations;
  if (stream == nullptr) {
    run_all();
  } else {
    finish_work(stream);
  }
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EventState;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t status = forbidden_in_capture(stream)) return status;
  *event = event_of(stream);
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (stream_of(*event) == nullptr) return cudaSuccess;
  if (const cudaError_t status = forbidden_in_capture(event->stream)) return status;
  wait_for(*event);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return has_happened(*event) ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (!has_happened(*begin) || !has_happened(*end)) return cudaErrorNotReady;
  *milliseconds = static_cast<float>(1e3 * (*end->time - *begin->time));
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t status = forbidden_in_capture(stream)) return status;
  if (event->stream != nullptr) put(stream, {{}, event->stream, event->position});
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!can_capture()) return cudaErrorNotSupported;
  stream->capture = std::make_unique<Graph>();
  stream->broken = false;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::unique_ptr<Graph> captured = std::move(stream->capture);
  *graph = nullptr;
  if (captured == nullptr || stream->broken) return cudaErrorStreamCaptureUnsupported;
  *graph = new Graph(*captured);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new Graph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  ++host_calls().graph_launches;
  for (const Piece& piece : executable->work) put(stream, piece);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
  return cudaErrorNotSupported;
}
cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t) {
  return cudaErrorNotSupported;
}
