#pragma once

#include "kernels/cuda/device.h"
#include "kernels/tensor.h"

namespace gorgon::cuda {

// Element by element over matrices [rows, columns]: a thread takes N neighbouring columns at a time, so that
// accesses are as wide as the alignment of all operands allows.

// Calls body(row, column) for the first of every N columns. columns is a multiple of N.
template <int N, typename Body>
__device__ __forceinline__ void for_each_pack(int64_t rows, int64_t columns, Body&& body) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x * N;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    for (int64_t column = first; column < columns; column += step) body(row, column);
  }
}

// The launch that for_each_pack<N> wants.
struct ElementwiseGrid {
  dim3 grid, block;
};
inline ElementwiseGrid elementwise_grid(int64_t rows, int64_t columns, int n) {
  constexpr int64_t kMostThreads = 256, kMostBlocks = 1 << 20, kMostRows = 65535;
  const int64_t packs = divide_up(columns, static_cast<int64_t>(n));
  const int64_t threads = std::min(kMostThreads, divide_up(packs, int64_t{kWarpSize}) * kWarpSize);
  return {dim3(static_cast<unsigned>(std::min(kMostBlocks, divide_up(packs, threads))),
               static_cast<unsigned>(std::min(kMostRows, rows))),
          dim3(static_cast<unsigned>(threads))};
}

// True when every row of every view can be read and written N elements at a time.
template <int N, typename... Views>
bool allows_packs(const Views&... views) {
  const auto fits = [](const auto& view) {
    const int64_t bytes = bytes_of(view.type, N);
    return view.columns() % N == 0 &&
           reinterpret_cast<uintptr_t>(view.data) % static_cast<uintptr_t>(bytes) == 0 &&
           (view.rows() <= 1 || view.stride() % N == 0);
  };
  return (fits(views) && ...);
}

// A contiguous array as a matrix of one row.
template <typename V>
V as_row(V view) {
  view.shape = {1, view.elements()};
  view.row_stride = 0;
  return view;
}

}  // namespace gorgon::cuda
