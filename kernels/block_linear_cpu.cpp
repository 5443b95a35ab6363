#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/block_linear.h"
#include "kernels/dequantise.h"
#include "kernels/fixed_vectors.h"  // accumulators live in arrays of vectors
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/block_linear_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::CappedTag<float, 16>;  // half a block of 32 is whole vectors
constexpr int64_t kBlock = 32;

// Two f16 side by side, as f32. Reads four values: blocks are longer than that.
HWY_INLINE void load_halves(const std::byte* from, float* to) {
#if HWY_TARGET == HWY_SCALAR
  uint16_t bits[2];
  std::memcpy(bits, from, sizeof bits);
  to[0] = f16_to_f32(bits[0]);
  to[1] = f16_to_f32(bits[1]);
#else
  const hn::FixedTag<float, 4> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> half;
  HWY_ALIGN hwy::float16_t values[4];
  std::memcpy(values, from, sizeof values);
  HWY_ALIGN float wide[4];
  hn::Store(hn::PromoteTo(d, hn::Load(half, values)), d, wide);
  to[0] = wide[0];
  to[1] = wide[1];
#endif
}

// Calls put(i, q) with the 16 lower and 16 upper halves of the bytes of `low`, a vector at a time; q is i32.
template <class Put>
HWY_INLINE void nibbles(const std::byte* low, const Put& put) {
  const F32 d;
  const hn::RebindToSigned<F32> whole;
  const hn::Rebind<uint8_t, F32> narrow;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < 16; i += lanes) {
    const auto bytes = hn::PromoteTo(whole, hn::LoadU(narrow, reinterpret_cast<const uint8_t*>(low) + i));
    put(i, hn::And(bytes, hn::Set(whole, 15)));
    put(i + 16, hn::ShiftRight<4>(bytes));
  }
}

// A row of `blocks` blocks of 32 as f32. Multiplied and added in two roundings, as dequantise() does.
void decode_q4_1(const std::byte* row, int64_t blocks, float* out) {
  const F32 d;
  for (int64_t b = 0; b < blocks; ++b, row += 20, out += kBlock) {
    float scale_min[2];
    load_halves(row, scale_min);
    const auto scale = hn::Set(d, scale_min[0]), min = hn::Set(d, scale_min[1]);
    nibbles(row + 4, [&](int64_t i, auto q) HWY_ATTR {
      hn::StoreU(hn::Add(hn::Mul(scale, hn::ConvertTo(d, q)), min), d, out + i);
    });
  }
}

void decode_q4_0(const std::byte* row, int64_t blocks, float* out) {
  const F32 d;
  const hn::RebindToSigned<F32> whole;
  for (int64_t b = 0; b < blocks; ++b, row += 18, out += kBlock) {
    float scales[2];
    load_halves(row, scales);
    const auto scale = hn::Set(d, scales[0]);
    nibbles(row + 2, [&](int64_t i, auto q) HWY_ATTR {
      hn::StoreU(hn::Mul(scale, hn::ConvertTo(d, hn::Sub(q, hn::Set(whole, 8)))), d, out + i);
    });
  }
}

void decode_q8_0(const std::byte* row, int64_t blocks, float* out) {
  const F32 d;
  const hn::RebindToSigned<F32> whole;
  const hn::Rebind<int8_t, F32> narrow;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t b = 0; b < blocks; ++b, row += 34, out += kBlock) {
    float scales[2];
    load_halves(row, scales);
    const auto scale = hn::Set(d, scales[0]);
    for (int64_t i = 0; i < kBlock; i += lanes) {
      const auto q = hn::PromoteTo(whole, hn::LoadU(narrow, reinterpret_cast<const int8_t*>(row) + 2 + i));
      hn::StoreU(hn::Mul(scale, hn::ConvertTo(d, q)), d, out + i);
    }
  }
}

void decode_row(DType type, const std::byte* row, int64_t columns, float* out) {
  switch (type) {
    case DType::q4_1:
      return decode_q4_1(row, columns / kBlock, out);
    case DType::q4_0:
      return decode_q4_0(row, columns / kBlock, out);
    case DType::q8_0:
      return decode_q8_0(row, columns / kBlock, out);
    default:
      dequantise_elements(type, row, columns, DType::f32, out);
  }
}

// sums[i] = w . x_i for kCount rows of x [.., columns], columns a multiple of 32. Two chains a row, joined at
// the end: the same for every kCount.
template <int64_t kCount>
HWY_INLINE void dot_rows(const float* HWY_RESTRICT w, const float* HWY_RESTRICT x, int64_t columns,
                         float* sums) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<F32> even[kCount], odd[kCount];
  for (int64_t i = 0; i < kCount; ++i) even[i] = odd[i] = hn::Zero(d);
  for (int64_t k = 0; k < columns; k += 2 * lanes) {
    const auto w0 = hn::LoadU(d, w + k), w1 = hn::LoadU(d, w + k + lanes);
    for (int64_t i = 0; i < kCount; ++i) {
      even[i] = hn::MulAdd(w0, hn::LoadU(d, x + i * columns + k), even[i]);
      odd[i] = hn::MulAdd(w1, hn::LoadU(d, x + i * columns + k + lanes), odd[i]);
    }
  }
  for (int64_t i = 0; i < kCount; ++i) sums[i] = hn::GetLane(hn::SumOfLanes(d, hn::Add(even[i], odd[i])));
}

// Rows [begin, end) of the weight with all m rows of x f32[m, columns]: sums f32[end - begin, m].
void multiply_rows(const WeightMatrix& weight, int64_t begin, int64_t end, const float* x, int64_t m,
                   float* row, float* sums) {
  const int64_t columns = weight.columns, row_bytes = bytes_of(weight.type, columns);
  for (int64_t n = begin; n < end; ++n, sums += m) {
    decode_row(weight.type, weight.storage->data() + n * row_bytes, columns, row);
    int64_t i = 0;
    for (; i + 4 <= m; i += 4) dot_rows<4>(row, x + i * columns, columns, sums + i);
    for (; i < m; ++i) dot_rows<1>(row, x + i * columns, columns, sums + i);
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(multiply_rows);

namespace {

// Rows of the weight that a thread takes at a time; the sums do not depend on it.
constexpr int64_t kPiece = 64;

void put(View y, int64_t row, int64_t column, float sum, Write write) {
  const int64_t at = row * y.stride() + column;
  if (y.type == DType::bf16) {
    y.as<bf16>()[at] = bf16(sum);
  } else if (write == Write::accumulate) {
    y.as<float>()[at] += sum;
  } else {
    y.as<float>()[at] = sum;
  }
}

std::vector<float> as_f32(ConstView x) {
  std::vector<float> values(static_cast<size_t>(x.elements()));
  for (int64_t i = 0; i < x.rows(); ++i) {
    float* to = values.data() + i * x.columns();
    if (x.type == DType::f32) {
      std::copy_n(x.as<float>() + i * x.stride(), x.columns(), to);
    } else {
      const bf16* from = x.as<bf16>() + i * x.stride();
      std::transform(from, from + x.columns(), to, [](bf16 value) { return static_cast<float>(value); });
    }
  }
  return values;
}

}  // namespace

void block_linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream) {
  const std::vector<float> rows = as_f32(x);
  const int64_t m = x.rows();
  stream.threads().parallel_ranges(weight.rows, kPiece, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(weight.columns)), sums(static_cast<size_t>((end - begin) * m));
    HWY_DYNAMIC_DISPATCH(multiply_rows)(weight, begin, end, rows.data(), m, row.data(), sums.data());
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t i = 0; i < m; ++i) put(y, i, n, sums[static_cast<size_t>((n - begin) * m + i)], write);
    }
  });
}

}  // namespace gorgon::cpu
#endif
