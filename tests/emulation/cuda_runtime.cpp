#include "tests/emulation/cuda_runtime.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "kernels/error.h"
#include "tests/emulation/device_memory.h"

namespace gorgon::emulation {

// What a stream does next: work, or to wait until another stream has done so many pieces.
struct Piece {
  std::function<void()> work;
  StreamState* other = nullptr;
  int64_t position = 0;
};

struct Graph {
  std::vector<Piece> work;
};

struct StreamState {
  std::deque<Piece> pending;
  int64_t born = 0;                // streams made before it
  int64_t asked = 0;               // pieces of work since the beginning
  std::atomic<int64_t> done{0};    // those that are at their end; other threads ask
  std::unique_ptr<Graph> capture;  // work goes here while it is there
  bool broken = false;             // something was done that a capture forbids
};

struct EventState {
  StreamState* stream = nullptr;
  int64_t position = 0;  // pieces of work before it
};

namespace {

struct Runtime {
  std::mutex mutex;  // of streams
  std::set<StreamState*> streams;
  std::set<const void*> pinned;
  std::optional<std::vector<Enqueued>> recording;
  bool graphs = true, dry = false;
  StreamOrder order = StreamOrder::late;
  int64_t born = 0;
};
Runtime& runtime() {
  static Runtime instance;
  return instance;
}

bool has_happened(const Piece& piece) {
  return piece.other == nullptr || !runtime().streams.contains(piece.other) ||
         piece.other->done >= piece.position;
}

void run_until(StreamState& stream, int64_t position);

// A stream that waits does the other's work when it comes to that.
void run_one(StreamState& stream) {
  const Piece piece = std::move(stream.pending.front());
  stream.pending.pop_front();
  try {
    if (!has_happened(piece)) run_until(*piece.other, piece.position);
    if (piece.work) piece.work();
    ++stream.done;
  } catch (...) {  // the hardware would be lost; tests go on
    stream.done = stream.asked;
    stream.pending.clear();
    throw;
  }
}

void run_until(StreamState& stream, int64_t position) {
  if (stream.done >= position) return;
  const KernelAccess access;  // opened once for all of it
  while (stream.done < position) run_one(stream);
}

bool goes_ahead(const StreamState& stream) {
  const auto is_younger = [&](const StreamState* s) { return s->born > stream.born; };
  const auto is_older = [&](const StreamState* s) { return s->born < stream.born; };
  const std::set<StreamState*>& all = runtime().streams;
  switch (runtime().order) {
    case StreamOrder::late:
      return false;
    case StreamOrder::early:
      return true;
    case StreamOrder::oldest_late:
      return std::any_of(all.begin(), all.end(), is_older);
    case StreamOrder::newest_late:
      return std::any_of(all.begin(), all.end(), is_younger);
  }
  return false;
}

// Streams that go ahead do all that they need not wait for.
void go_ahead() {
  if (runtime().order == StreamOrder::late) return;
  for (bool any = true; any;) {
    any = false;
    for (StreamState* stream : runtime().streams) {
      if (!goes_ahead(*stream)) continue;
      while (!stream->pending.empty() && has_happened(stream->pending.front())) {
        const KernelAccess access;
        run_one(*stream);
        any = true;
      }
    }
  }
}

void run_all() {
  for (StreamState* stream : runtime().streams) run_until(*stream, stream->asked);
}

// Of calls that a stream must not see while it is captured.
cudaError_t forbidden_in_capture(StreamState* stream) {
  const auto breaks = [](StreamState& s) {
    s.broken = s.broken || s.capture != nullptr;
    return s.capture != nullptr;
  };
  bool any = false;
  if (stream != nullptr) return breaks(*stream) ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
  for (StreamState* s : runtime().streams) any = breaks(*s) || any;
  return any ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

void copy(void* to, const void* from, size_t bytes) {
  const KernelAccess access;
  std::memcpy(to, from, bytes);
}

}  // namespace

namespace {

void put(StreamState* stream, Piece piece) {
  if (runtime().recording) runtime().recording->push_back({stream, piece.other != nullptr});
  if (stream->capture != nullptr) return stream->capture->work.push_back(std::move(piece));
  if (runtime().dry) return;
  stream->pending.push_back(std::move(piece));
  ++stream->asked;
  go_ahead();
}

}  // namespace

void enqueue(StreamState* stream, std::function<void()> work) {
  put(stream, {std::move(work)});
}

void finish_work(StreamState* stream) {
  run_until(*stream, stream->asked);
  go_ahead();
}

void set_stream_order(StreamOrder order) {
  run_all();
  runtime().order = order;
}

void start_recording() {
  runtime().recording.emplace();
}
std::vector<Enqueued> recorded() {
  std::vector<Enqueued> all = std::move(runtime().recording).value();
  runtime().recording.reset();
  return all;
}

void set_graphs(bool available) {
  runtime().graphs = available;
}

void set_dry(bool dry) {
  runtime().dry = dry;
}
bool is_dry() {
  return runtime().dry;
}

}  // namespace gorgon::emulation

using namespace gorgon::emulation;

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
  runtime().pinned.insert(*data);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  runtime().pinned.erase(data);
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
  if (host != nullptr && !runtime().pinned.contains(host)) return cudaErrorInvalidValue;
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
  *stream = new StreamState;
  (*stream)->born = runtime().born++;
  const std::lock_guard lock(runtime().mutex);
  runtime().streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  run_until(*stream, stream->asked);
  const std::lock_guard lock(runtime().mutex);
  runtime().streams.erase(stream);
  delete stream;
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
  *event = {stream, stream->asked};
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->stream == nullptr || !runtime().streams.contains(event->stream)) return cudaSuccess;
  if (const cudaError_t status = forbidden_in_capture(event->stream)) return status;
  host_calls().waits += event->stream->done < event->position ? 1 : 0;
  run_until(*event->stream, event->position);
  go_ahead();
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(runtime().mutex);
  if (event->stream == nullptr || !runtime().streams.contains(event->stream)) return cudaSuccess;
  return event->stream->done < event->position ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = 0;
  return cudaEventQuery(begin) == cudaSuccess ? cudaEventQuery(end) : cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t status = forbidden_in_capture(stream)) return status;
  if (event->stream != nullptr) put(stream, {{}, event->stream, event->position});
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!runtime().graphs) return cudaErrorNotSupported;
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
