// Products that the library does not take: any type, stride and alignment. One thread an element of c, tiles
// of a and b in shared memory, sums over k in ascending order.
#include "kernels/cuda/device.h"
#include "kernels/cuda/gemm_plain.h"

namespace gorgon::cuda {

namespace {

constexpr int kTile = 16;

struct Strides {
  int64_t a_row, a_k, b_k, b_column, c;
};

template <typename In, typename Out>
__global__ void gemm_plain_kernel(const In* a, const In* b, Out* c, int64_t m, int64_t n, int64_t k,
                                  Strides stride, bool accumulate) {
  GORGON_DYNAMIC_SHARED(float, shared);
  float* tile_a = shared;                        // [kTile rows][kTile of k]
  float* tile_b = shared + kTile * (kTile + 1);  // [kTile of k][kTile columns]
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int64_t row = static_cast<int64_t>(blockIdx.y) * kTile + y,
                column = static_cast<int64_t>(blockIdx.x) * kTile + x;
  float sum = 0.0f;
  for (int64_t first = 0; first < k; first += kTile) {
    const bool has_a = row < m && first + x < k, has_b = column < n && first + y < k;
    tile_a[y * (kTile + 1) + x] = has_a ? to_float(a[row * stride.a_row + (first + x) * stride.a_k]) : 0.0f;
    tile_b[y * (kTile + 1) + x] =
        has_b ? to_float(b[(first + y) * stride.b_k + column * stride.b_column]) : 0.0f;
    __syncthreads();
    for (int i = 0; i < kTile; ++i) sum = fmaf(tile_a[y * (kTile + 1) + i], tile_b[i * (kTile + 1) + x], sum);
    __syncthreads();
  }
  if (row >= m || column >= n) return;
  Out& target = c[row * stride.c + column];
  target = from_float<Out>(accumulate ? to_float(target) + sum : sum);
}

template <typename In, typename Out>
void run(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream) {
  const int64_t m = c.shape[0], n = c.shape[1], k = options.transpose_a ? a.shape[0] : a.shape[1];
  const Strides stride{options.transpose_a ? 1 : a.stride(), options.transpose_a ? a.stride() : 1,
                       options.transpose_b ? 1 : b.stride(), options.transpose_b ? b.stride() : 1,
                       c.stride()};
  // The grid's second extent ends at 65,535: rows beyond come in further launches.
  constexpr int64_t kMostRows = int64_t{65535} * kTile;
  for (int64_t row = 0; row < m; row += kMostRows) {
    const int64_t rows = m - row < kMostRows ? m - row : kMostRows;
    const dim3 grid(static_cast<unsigned>(divide_up(n, int64_t{kTile})),
                    static_cast<unsigned>(divide_up(rows, int64_t{kTile})));
    launch(gemm_plain_kernel<In, Out>, grid, dim3(kTile, kTile), 2 * kTile * (kTile + 1) * sizeof(float),
           stream, a.as<In>() + row * stride.a_row, b.as<In>(), c.as<Out>() + row * stride.c, rows, n, k,
           stride, options.write == Write::accumulate);
  }
}

}  // namespace

void gemm_plain(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream) {
  if (a.type == DType::f32) {
    c.type == DType::f32 ? run<float, float>(a, b, c, options, stream)
                         : run<float, bf16>(a, b, c, options, stream);
  } else {
    c.type == DType::f32 ? run<bf16, float>(a, b, c, options, stream)
                         : run<bf16, bf16>(a, b, c, options, stream);
  }
}

}  // namespace gorgon::cuda
