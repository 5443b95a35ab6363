#pragma once

#include <memory>

#include <cuda_runtime.h>

#include "kernels/device.h"

namespace gorgon::cuda {

class GemmPlans;  // gemm_cuda.cpp
class Staging;    // transfer_cuda.cpp

// What Stream::native() leads to on a GPU. One host thread at a time uses it, as it does the stream.
struct Queue {
  Queue(int device_index, cudaStream_t cuda_stream);
  ~Queue();

  int device;
  cudaStream_t stream;
  std::unique_ptr<GemmPlans> gemm_plans;  // made by the first product
  std::unique_ptr<Staging> staging;       // made by the first upload
};
Queue& queue_of(const Stream& stream);

// Makes the device current for this host thread.
void select_device(int index);

// Throws Error(resource) naming the call and CUDA's reason.
void check(cudaError_t status, const char* call);

}  // namespace gorgon::cuda
