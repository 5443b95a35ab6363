// Memory, streams and launches of the CUDA backend.
#include <string>

#include "kernels/cuda/gemm_plans.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/staging.h"
#include "kernels/device.h"
#include "kernels/error.h"
#include "kernels/fp8_linear.h"

namespace gorgon::cuda {

namespace {

// Stream-ordered memory where the driver has it: released buffers stay in the device's pool, so that an op
// that needs a scratch buffer does not wait for the device.
bool has_pool(int index) {
  int supported = 0;
  return cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, index) == cudaSuccess &&
         supported != 0;
}

void keep_released_memory(int index) {
  cudaMemPool_t pool = nullptr;
  if (!has_pool(index) || cudaDeviceGetDefaultMemPool(&pool, index) != cudaSuccess) return;
  uint64_t everything = UINT64_MAX;
  cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &everything);
}

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // the next call starts clean where the context survived
  fail(ExitCode::resource,
       {"", call, "success", std::string(cudaGetErrorName(status)) + ", " + cudaGetErrorString(status),
        "see docs/errors.md for failures of the GPU"});
}

void select_device(int index) {
  check(cudaSetDevice(index), "cudaSetDevice");
}

Queue::Queue(int device_index, cudaStream_t cuda_stream) : device(device_index), stream(cuda_stream) {}

Queue::~Queue() {
  cudaStreamSynchronize(stream);  // what it still does reads the buffers below
  staging.reset();
  gemm_plans.reset();
  cudaStreamDestroy(stream);
}

Queue& queue_of(const Stream& stream) {
  require(stream.device().kind == DeviceKind::cuda, "queue_of", "a stream of the CPU");
  return *static_cast<Queue*>(stream.native());
}

bool is_built() {
  return true;
}

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // no driver or no GPU: nothing is there, which is no error yet
    return 0;
  }
  return count;
}

int compute_capability(int index) {
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index), "cudaDeviceGetAttribute");
  return 10 * major + minor;
}

// The legacy default stream orders releases and allocations with the work of every stream of ours, since
// create_stream makes blocking ones.
void* allocate(int index, int64_t bytes) {
  select_device(index);
  void* data = nullptr;
  const auto size = static_cast<size_t>(bytes);
  const cudaError_t status =
      has_pool(index) ? cudaMallocAsync(&data, size, nullptr) : cudaMalloc(&data, size);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check(status, "cudaMalloc");
  return data;
}

MemoryState memory_state(int index) {
  size_t free_bytes = 0, total_bytes = 0;
  select_device(index);
  cudaMemGetInfo(&free_bytes, &total_bytes);
  return {static_cast<int64_t>(free_bytes), static_cast<int64_t>(total_bytes)};
}

void release(int index, void* data) noexcept {
  // Nothing can be done about a failure here; at the end of the process the driver may be gone already.
  if (cudaSetDevice(index) != cudaSuccess) return;
  if (has_pool(index)) {
    cudaFreeAsync(data, nullptr);
  } else {
    cudaFree(data);
  }
}

void copy_bytes(Device to, void* destination, Device from, const void* source, int64_t bytes) {
  select_device(to.kind == DeviceKind::cuda ? to.index : from.index);
  check(cudaMemcpy(destination, source, static_cast<size_t>(bytes), cudaMemcpyDefault), "cudaMemcpy");
  check(cudaStreamSynchronize(nullptr), "cudaMemcpy");
}

void zero_bytes(int index, void* destination, int64_t bytes) {
  select_device(index);
  check(cudaMemset(destination, 0, static_cast<size_t>(bytes)), "cudaMemset");
}

void* create_stream(int index) {
  select_device(index);
  keep_released_memory(index);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreate(&stream), "cudaStreamCreate");
  return new Queue(index, stream);
}

void destroy_stream(int index, void* stream) noexcept {
  cudaSetDevice(index);
  delete static_cast<Queue*>(stream);
}

void synchronize(int index, void* stream) {
  select_device(index);
  check(cudaStreamSynchronize(static_cast<Queue*>(stream)->stream), "cudaStreamSynchronize");
}

void launch_untyped(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, const Stream& stream,
                    void** arguments) {
  constexpr size_t kSharedWithoutAsking = 48u << 10;
  const Queue& queue = queue_of(stream);
  select_device(queue.device);
  if (shared_bytes > kSharedWithoutAsking) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          "cudaFuncSetAttribute");
  }
  check(cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, queue.stream), "cudaLaunchKernel");
}

}  // namespace gorgon::cuda
