#include "kernels/cuda/elementwise.h"
#include "kernels/resblock.h"

namespace gorgon::cuda {

namespace {

__device__ __forceinline__ float sigmoid(float u) {
  return 1.0f / (1.0f + expf(-u));
}

template <typename T, int N>
__global__ void forward_kernel(float* u, int64_t u_stride, const T* bias, const T* x, int64_t x_stride, T* y,
                               int64_t y_stride, int64_t rows, int64_t columns) {
  for_each_pack<N>(rows, columns, [&](int64_t r, int64_t c) {
    auto pre = load_pack<N>(u + r * u_stride + c);
    const auto b = load_pack<N>(bias + c), in = load_pack<N>(x + r * x_stride + c);
    Pack<T, N> out;
    for (int i = 0; i < N; ++i) {
      const float v = pre.value[i] + to_float(b.value[i]);
      pre.value[i] = v;
      out.value[i] = from_float<T>(to_float(in.value[i]) + v * sigmoid(v));
    }
    store_pack(u + r * u_stride + c, pre);
    store_pack(y + r * y_stride + c, out);
  });
}

// A block takes 32 columns through all rows, a warp every 32nd row, and then adds the warps' sums in order.
template <typename T>
__global__ void backward_kernel(const float* dy, int64_t dy_stride, const float* u, int64_t u_stride, T* du,
                                int64_t du_stride, float* dbias, int64_t rows, int64_t columns,
                                bool accumulate) {
  GORGON_DYNAMIC_SHARED(float, partial);  // [warps][32]
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  const int warps = static_cast<int>(blockDim.y);
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kWarpSize + lane;
  float sum = 0.0f;
  for (int64_t r = warp; c < columns && r < rows; r += warps) {
    const float v = u[r * u_stride + c], s = sigmoid(v);
    const float g = dy[r * dy_stride + c] * (s * (1.0f + v * (1.0f - s)));
    du[r * du_stride + c] = from_float<T>(g);
    sum += g;
  }
  partial[warp * kWarpSize + lane] = sum;
  __syncthreads();
  if (warp != 0 || c >= columns) return;
  float total = accumulate ? dbias[c] : 0.0f;
  for (int w = 0; w < warps; ++w) total += partial[w * kWarpSize + lane];
  dbias[c] = total;
}

template <typename T>
void run_forward(View u, ConstView bias, ConstView x, View y, const Stream& stream) {
  const bool packs = allows_packs<4>(u, as_row(bias), x, y);
  const auto [grid, block] = elementwise_grid(u.rows(), u.columns(), packs ? 4 : 1);
  launch(packs ? forward_kernel<T, 4> : forward_kernel<T, 1>, grid, block, 0, stream, u.as<float>(),
         u.stride(), bias.as<T>(), x.as<T>(), x.stride(), y.as<T>(), y.stride(), u.rows(), u.columns());
}

template <typename T>
void run_backward(ConstView dy, ConstView u, View du, View dbias, Write write, const Stream& stream) {
  const unsigned warps = u.rows() >= 32 ? 32u : static_cast<unsigned>(std::max<int64_t>(1, u.rows()));
  launch(backward_kernel<T>, dim3(static_cast<unsigned>(divide_up(u.columns(), int64_t{kWarpSize}))),
         dim3(kWarpSize, warps), warps * kWarpSize * sizeof(float), stream, dy.as<float>(), dy.stride(),
         u.as<float>(), u.stride(), du.as<T>(), du.stride(), dbias.as<float>(), u.rows(), u.columns(),
         write == Write::accumulate);
}

}  // namespace

void resblock_forward(View u, ConstView bias, ConstView x, View y, const Stream& stream) {
  x.type == DType::f32 ? run_forward<float>(u, bias, x, y, stream) : run_forward<bf16>(u, bias, x, y, stream);
}

void resblock_backward(ConstView dy, ConstView u, View du, View dbias, Write write, const Stream& stream) {
  du.type == DType::f32 ? run_backward<float>(dy, u, du, dbias, write, stream)
                        : run_backward<bf16>(dy, u, du, dbias, write, stream);
}

}  // namespace gorgon::cuda
