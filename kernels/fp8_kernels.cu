#include "kernels/cuda/elementwise.h"
#include "kernels/fp8_linear.h"

namespace gorgon::cuda {

namespace {

// As to_e4m3() on the host; |value| is at most 448, but for the rounding of its scale.
__device__ __forceinline__ uint8_t to_e4m3_code(float value) {
  const uint32_t u = __float_as_uint(value), sign = u >> 24 & 0x80u, magnitude = u & 0x7fffffffu;
  uint32_t code;
  if (magnitude > 0x7f800000u) {
    code = 0x7fu;
  } else if (magnitude >= 0x43e00000u) {  // 448
    code = 0x7eu;
  } else if (magnitude < 0x3c800000u) {  // 2^-6
    code = __float_as_uint(__uint_as_float(magnitude) + 16384.0f) & 0xfu;
  } else {
    code = ((magnitude + 0x7ffffu + (magnitude >> 20 & 1u)) >> 20) - (120u << 3);
  }
  return static_cast<uint8_t>(sign | code);
}

// A block a row; the second reading of the row comes from the cache. A maximum has no order. NaN, which no
// maximum would keep, is taken for the largest number, so that it is there in the scale.
template <int N>
__global__ void quantise_rows_kernel(const bf16* x, int64_t x_stride, uint8_t* codes, int64_t code_stride,
                                     float* scales, int64_t columns) {
  GORGON_DYNAMIC_SHARED(uint32_t, scratch);
  const bf16* row = x + static_cast<int64_t>(blockIdx.x) * x_stride;
  uint8_t* out = codes + static_cast<int64_t>(blockIdx.x) * code_stride;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * N, step = static_cast<int64_t>(blockDim.x) * N;
  uint32_t largest = 0;  // bits of an absolute value, in their order
  for (int64_t c = first; c < columns; c += step) {
    const auto in = load_pack<N>(row + c);
    for (int i = 0; i < N; ++i) {
      largest = Max::of(largest, __float_as_uint(to_float(in.value[i])) & 0x7fffffffu);
    }
  }
  const float absmax = __uint_as_float(block_reduce<Max>(largest, scratch, 0u));
  if (threadIdx.x == 0) scales[blockIdx.x] = absmax / 448.0f;
  const float inverse = absmax > 1e-30f ? 448.0f / absmax : 0.0f;
  for (int64_t c = first; c < columns; c += step) {
    const auto in = load_pack<N>(row + c);
    Pack<uint8_t, N> result;
    for (int i = 0; i < N; ++i) result.value[i] = to_e4m3_code(to_float(in.value[i]) * inverse);
    store_pack(out + c, result);
  }
}

template <typename T, int N>
__global__ void scale_product_kernel(const bf16* product, int64_t product_stride, const float* row_scales,
                                     const float* column_scales, T* y, int64_t y_stride, int64_t rows,
                                     int64_t columns, bool accumulate) {
  for_each_pack<N>(rows, columns, [&](int64_t r, int64_t c) {
    const auto in = load_pack<N>(product + r * product_stride + c);
    const auto scales = load_pack<N>(column_scales + c);
    Pack<T, N> out;
    if (accumulate) out = load_pack<N>(y + r * y_stride + c);
    for (int i = 0; i < N; ++i) {
      const float value = to_float(in.value[i]) * scales.value[i] * row_scales[r];
      out.value[i] = from_float<T>(accumulate ? to_float(out.value[i]) + value : value);
    }
    store_pack(y + r * y_stride + c, out);
  });
}

template <typename T>
void run_scale(ConstView product, ConstView row_scales, ConstView column_scales, View y, Write write,
               const Stream& stream) {
  const bool packs = allows_packs<4>(product, as_row(column_scales), y);
  const auto [grid, block] = elementwise_grid(y.rows(), y.columns(), packs ? 4 : 1);
  launch(packs ? scale_product_kernel<T, 4> : scale_product_kernel<T, 1>, grid, block, 0, stream,
         product.as<bf16>(), product.stride(), row_scales.as<float>(), column_scales.as<float>(), y.as<T>(),
         y.stride(), y.rows(), y.columns(), write == Write::accumulate);
}

}  // namespace

void quantise_rows(ConstView x, View codes, View scales, const Stream& stream) {
  const bool packs = allows_packs<8>(x, codes);
  const int64_t threads = std::min<int64_t>(512, divide_up(x.columns(), int64_t{8 * kWarpSize}) * kWarpSize);
  launch(packs ? quantise_rows_kernel<8> : quantise_rows_kernel<1>, dim3(static_cast<unsigned>(x.rows())),
         dim3(static_cast<unsigned>(threads)), kWarpSize * sizeof(uint32_t), stream, x.as<bf16>(), x.stride(),
         codes.as<uint8_t>(), codes.stride(), scales.as<float>(), x.columns());
}

void scale_product(ConstView product, ConstView row_scales, ConstView column_scales, View y, Write write,
                   const Stream& stream) {
  y.type == DType::f32 ? run_scale<float>(product, row_scales, column_scales, y, write, stream)
                       : run_scale<bf16>(product, row_scales, column_scales, y, write, stream);
}

}  // namespace gorgon::cuda
