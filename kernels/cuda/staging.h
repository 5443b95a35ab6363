#pragma once

#include <memory>

#include <cuda_runtime.h>

namespace gorgon::cuda {

// A ring of page-locked buffers that uploads of one stream pass through.
class Staging {
 public:
  Staging();
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // The source has been read when the call returns.
  void upload(const void* source, void* to, size_t bytes, cudaStream_t stream);

 private:
  struct Slots;
  std::unique_ptr<Slots> slots_;
};

}  // namespace gorgon::cuda
