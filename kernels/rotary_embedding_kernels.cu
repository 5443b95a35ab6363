#include "kernels/cuda/elementwise.h"
#include "kernels/rotary_embedding.h"

namespace gorgon::cuda {

namespace {

// Columns count pairs here: pair c is elements i and i + half of head c / half, i = c % half.
template <typename T, int N>
__global__ void rotary_kernel(T* x, int64_t stride, int half, const int32_t* positions, const float* cosines,
                              const float* sines, int64_t known, int64_t rows, int64_t pairs) {
  for_each_pack<N>(rows, pairs, [&](int64_t r, int64_t c) {
    const int head = static_cast<int>(c) / half, i = static_cast<int>(c) % half;
    T* first = x + r * stride + static_cast<int64_t>(head) * 2 * half + i;
    T* second = first + half;
    const int64_t position = positions[r];
    Pack<float, N> cosine, sine;
    // The host cannot be asked from here: a position outside the table turns the row into NaN.
    for (float& value : cosine.value) value = __uint_as_float(0x7fffffffu);
    sine = cosine;
    if (position >= 0 && position < known) {
      cosine = load_pack<N>(cosines + position * half + i);
      sine = load_pack<N>(sines + position * half + i);
    }
    auto a = load_pack<N>(first), b = load_pack<N>(second);
    for (int j = 0; j < N; ++j) {
      const float u = to_float(a.value[j]), v = to_float(b.value[j]);
      a.value[j] = from_float<T>(u * cosine.value[j] - v * sine.value[j]);
      b.value[j] = from_float<T>(v * cosine.value[j] + u * sine.value[j]);
    }
    store_pack(first, a);
    store_pack(second, b);
  });
}

template <typename T>
void run(View x, int64_t head_dim, ConstView positions, const RotaryTable& table, const Stream& stream) {
  const int64_t half = head_dim / 2, pairs = x.columns() / 2;
  const bool packs = half % 4 == 0 && allows_packs<4>(x, table.cos.view(), table.sin.view());
  const auto [grid, block] = elementwise_grid(x.rows(), pairs, packs ? 4 : 1);
  launch(packs ? rotary_kernel<T, 4> : rotary_kernel<T, 1>, grid, block, 0, stream, x.as<T>(), x.stride(),
         static_cast<int>(half), positions.as<int32_t>(), table.cos.as<float>(), table.sin.as<float>(),
         table.cos.shape()[0], x.rows(), pairs);
}

}  // namespace

void rotary_embedding(View x, int64_t head_dim, ConstView positions, const RotaryTable& table,
                      const Stream& stream) {
  x.type == DType::f32 ? run<float>(x, head_dim, positions, table, stream)
                       : run<bf16>(x, head_dim, positions, table, stream);
}

}  // namespace gorgon::cuda
