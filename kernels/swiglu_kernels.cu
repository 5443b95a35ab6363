#include "kernels/cuda/elementwise.h"
#include "kernels/swiglu.h"

namespace gorgon::cuda {

namespace {

template <typename T, int N>
__global__ void swiglu_kernel(const T* gate, int64_t stride, T* y, int64_t y_stride, int64_t rows,
                              int64_t columns) {
  for_each_pack<N>(rows, columns, [&](int64_t r, int64_t c) {
    const auto g = load_pack<N>(gate + r * stride + c), up = load_pack<N>(gate + r * stride + columns + c);
    Pack<T, N> out;
    for (int i = 0; i < N; ++i) {
      const float z = to_float(g.value[i]);
      out.value[i] = from_float<T>(z / (1.0f + expf(-z)) * to_float(up.value[i]));
    }
    store_pack(y + r * y_stride + c, out);
  });
}

template <typename T>
void run(ConstView gate_up, View y, const Stream& stream) {
  constexpr int kCount = kPack<T>;
  const bool packs =
      allows_packs<kCount>(y, gate_up.columns(0, y.columns()), gate_up.columns(y.columns(), 2 * y.columns()));
  const auto [grid, block] = elementwise_grid(y.rows(), y.columns(), packs ? kCount : 1);
  launch(packs ? swiglu_kernel<T, kCount> : swiglu_kernel<T, 1>, grid, block, 0, stream, gate_up.as<T>(),
         gate_up.stride(), y.as<T>(), y.stride(), y.rows(), y.columns());
}

}  // namespace

void swiglu(ConstView gate_up, View y, const Stream& stream) {
  y.type == DType::f32 ? run<float>(gate_up, y, stream) : run<bf16>(gate_up, y, stream);
}

}  // namespace gorgon::cuda
