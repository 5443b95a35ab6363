#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/gguf_blocks.h"
#include "kernels/dequantise.h"
#include "kernels/error.h"

namespace gorgon::cuda {

namespace {

// N neighbouring values, all of one block, a thread.
template <typename Stored, typename T, int N>
__global__ void dequantise_kernel(const uint8_t* weight, int64_t row_bytes, T* out, int64_t stride,
                                  int64_t rows, int64_t columns) {
  for_each_pack<N>(rows, columns, [&](int64_t r, int64_t c) {
    constexpr int kElements = Stored::kElements;
    Pack<T, N> values;
    for (int i = 0; i < N; ++i) {
      const uint8_t* block = weight + r * row_bytes + (c + i) / kElements * Stored::kBytes;
      values.value[i] = from_float<T>(Stored::value(block, static_cast<int>((c + i) % kElements)));
    }
    store_pack(out + r * stride + c, values);
  });
}

template <typename Stored, typename T>
void run(ConstView weight, View out, const Stream& stream) {
  constexpr int kCount = kPack<T>;
  const bool packs = allows_packs<kCount>(out);
  const auto [grid, block] = elementwise_grid(out.rows(), out.columns(), packs ? kCount : 1);
  launch(packs ? dequantise_kernel<Stored, T, kCount> : dequantise_kernel<Stored, T, 1>, grid, block, 0,
         stream, weight.as<uint8_t>(), bytes_of(weight.type, weight.columns()), out.as<T>(), out.stride(),
         out.rows(), out.columns());
}

}  // namespace

void dequantise(ConstView weight, View out, const Stream& stream) {
  with_block(weight.type, [&](auto stored) {
    using Stored = decltype(stored);
    out.type == DType::f32 ? run<Stored, float>(weight, out, stream) : run<Stored, bf16>(weight, out, stream);
  });
}

}  // namespace gorgon::cuda
