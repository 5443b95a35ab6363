#pragma once

// What a .cu file compiled by the CUDA compiler sees behind kernels/cuda/device.h. The tests put another file
// of this name in its place, which runs the kernels on the CPU.

#include <tuple>
#include <type_traits>
#include <utility>

#include <cuda_runtime.h>

#include "kernels/device.h"

// Dynamic shared memory of the block, as an array of T.
#define GORGON_DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char gorgon_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(gorgon_dynamic_shared)

// A parameter that is read where the launch put it, however it is indexed.
#define GORGON_GRID_CONSTANT __grid_constant__

namespace gorgon::cuda {

// Puts one launch into the stream's queue; device_cuda.cpp. Throws Error(resource) where CUDA refuses it.
void launch_untyped(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, const Stream& stream,
                    void** arguments);

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...).
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, const Stream& stream,
            Arguments&&... arguments) {
  std::tuple<std::remove_cv_t<Parameters>...> values(std::forward<Arguments>(arguments)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {static_cast<void*>(&value)..., nullptr};
        launch_untyped(reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream, pointers);
      },
      values);
}

}  // namespace gorgon::cuda
