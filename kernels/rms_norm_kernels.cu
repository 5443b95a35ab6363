#include "kernels/cuda/elementwise.h"
#include "kernels/rms_norm.h"

namespace gorgon::cuda {

namespace {

// A block a row; the second reading of the row comes from the cache. The order of the sum depends on the
// block's size, which depends on the row's length alone.
template <typename T, int N>
__global__ void rms_norm_kernel(const float* x, int64_t x_stride, const float* weight, float epsilon, T* y,
                                int64_t y_stride, int64_t columns) {
  GORGON_DYNAMIC_SHARED(float, scratch);
  const float* row = x + static_cast<int64_t>(blockIdx.x) * x_stride;
  T* out = y + static_cast<int64_t>(blockIdx.x) * y_stride;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * N, step = static_cast<int64_t>(blockDim.x) * N;
  float squares = 0.0f;
  for (int64_t c = first; c < columns; c += step) {
    const auto in = load_pack<N>(row + c);
    for (int i = 0; i < N; ++i) squares = fmaf(in.value[i], in.value[i], squares);
  }
  squares = block_reduce<Sum>(squares, scratch, 0.0f);
  const float scale = 1.0f / sqrtf(squares / static_cast<float>(columns) + epsilon);
  for (int64_t c = first; c < columns; c += step) {
    const auto in = load_pack<N>(row + c), w = load_pack<N>(weight + c);
    Pack<T, N> result;
    for (int i = 0; i < N; ++i) result.value[i] = from_float<T>(w.value[i] * (in.value[i] * scale));
    store_pack(out + c, result);
  }
}

template <typename T>
void run(ConstView x, ConstView weight, float epsilon, View y, const Stream& stream) {
  const bool packs = allows_packs<4>(x, as_row(weight), y);
  const int64_t threads = std::min<int64_t>(512, divide_up(x.columns(), int64_t{4 * kWarpSize}) * kWarpSize);
  launch(packs ? rms_norm_kernel<T, 4> : rms_norm_kernel<T, 1>, dim3(static_cast<unsigned>(x.rows())),
         dim3(static_cast<unsigned>(threads)), kWarpSize * sizeof(float), stream, x.as<float>(), x.stride(),
         weight.as<float>(), epsilon, y.as<T>(), y.stride(), x.columns());
}

}  // namespace

void rms_norm(ConstView x, ConstView weight, float epsilon, View y, const Stream& stream) {
  y.type == DType::f32 ? run<float>(x, weight, epsilon, y, stream) : run<bf16>(x, weight, epsilon, y, stream);
}

}  // namespace gorgon::cuda
