#include "kernels/cuda/elementwise.h"
#include "kernels/embedding.h"

namespace gorgon::cuda {

namespace {

template <typename T, int N>
__global__ void embedding_kernel(const int32_t* tokens, const T* table, int64_t table_rows, float* x,
                                 int64_t x_stride, int64_t rows, int64_t columns) {
  for_each_pack<N>(rows, columns, [&](int64_t r, int64_t c) {
    const int64_t token = tokens[r];
    Pack<float, N> out;
    // The host cannot be asked from here: a token that is not there is embedded as NaN.
    for (float& value : out.value) value = __uint_as_float(0x7fffffffu);
    if (token >= 0 && token < table_rows) {
      const auto in = load_pack<N>(table + token * columns + c);
      for (int i = 0; i < N; ++i) out.value[i] = to_float(in.value[i]);
    }
    store_pack(x + r * x_stride + c, out);
  });
}

template <typename T>
void run(ConstView tokens, const WeightMatrix& table, View x, const Stream& stream) {
  const bool packs = allows_packs<4>(x, table.view());
  const auto [grid, block] = elementwise_grid(x.rows(), x.columns(), packs ? 4 : 1);
  launch(packs ? embedding_kernel<T, 4> : embedding_kernel<T, 1>, grid, block, 0, stream,
         tokens.as<int32_t>(), table.view().as<T>(), table.rows, x.as<float>(), x.stride(), x.rows(),
         x.columns());
}

}  // namespace

void embedding(ConstView tokens, const WeightMatrix& table, View x, const Stream& stream) {
  table.type == DType::f32 ? run<float>(tokens, table, x, stream) : run<bf16>(tokens, table, x, stream);
}

}  // namespace gorgon::cuda
