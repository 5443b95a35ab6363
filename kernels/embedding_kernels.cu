#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/gguf_blocks.h"
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

// A table of any stored type, value by value.
template <typename Stored>
__global__ void stored_embedding_kernel(const int32_t* tokens, const uint8_t* table, int64_t row_bytes,
                                        int64_t table_rows, float* x, int64_t x_stride, int64_t rows,
                                        int64_t columns) {
  for_each_pack<1>(rows, columns, [&](int64_t r, int64_t c) {
    const int64_t token = tokens[r];
    const bool exists = token >= 0 && token < table_rows;
    const uint8_t* block = table + (exists ? token : 0) * row_bytes + c / Stored::kElements * Stored::kBytes;
    x[r * x_stride + c] =
        exists ? Stored::value(block, static_cast<int>(c % Stored::kElements)) : __uint_as_float(0x7fffffffu);
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
  if (table.type == DType::f32) return run<float>(tokens, table, x, stream);
  if (table.type == DType::bf16) return run<bf16>(tokens, table, x, stream);
  with_block(table.type, [&](auto stored) {
    using Stored = decltype(stored);
    const auto [grid, block] = elementwise_grid(x.rows(), x.columns(), 1);
    launch(stored_embedding_kernel<Stored>, grid, block, 0, stream, tokens.as<int32_t>(),
           table.storage->as<uint8_t>(), bytes_of(table.type, table.columns), table.rows, x.as<float>(),
           x.stride(), x.rows(), x.columns());
  });
}

}  // namespace gorgon::cuda
