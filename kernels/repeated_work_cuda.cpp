#include "kernels/cuda/queue.h"
#include "kernels/error.h"
#include "kernels/repeated_work.h"

namespace gorgon::cuda {

namespace {

// Ends the capture of a stream, whatever came of it.
cudaGraph_t end_capture(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream, &graph) == cudaSuccess) return graph;
  cudaGetLastError();
  return nullptr;
}

}  // namespace

void* capture(const std::function<void()>& work, const Stream& stream) {
  const Queue& queue = queue_of(stream);
  select_device(queue.device);
  if (cudaStreamBeginCapture(queue.stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  cudaGraph_t graph = nullptr;
  try {
    work();
    graph = end_capture(queue.stream);
  } catch (const Error&) {  // a call that no capture allows: the work is done without one, or fails there
    graph = end_capture(queue.stream);
    if (graph != nullptr) cudaGraphDestroy(graph);
    return nullptr;
  } catch (...) {  // Stopped
    graph = end_capture(queue.stream);
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  if (graph == nullptr) return nullptr;
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  if (status == cudaSuccess) return executable;
  cudaGetLastError();
  return nullptr;
}

void launch_graph(void* graph, const Stream& stream) {
  const Queue& queue = queue_of(stream);
  select_device(queue.device);
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), queue.stream), "cudaGraphLaunch");
}

void destroy_graph(void* graph) noexcept {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

}  // namespace gorgon::cuda
