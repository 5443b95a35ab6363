#include "kernels/error.h"
#include "kernels/rotary_embedding.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rotary_embedding_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::load;
using simd::HWY_NAMESPACE::store;

template <typename T>
void rotate(T* x, int64_t heads, int64_t half, const float* cosines, const float* sines) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t head = 0; head < heads; ++head) {
    T* first = x + head * 2 * half;
    T* second = first + half;
    int64_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      const auto a = load(d, first + i), b = load(d, second + i);
      const auto c = hn::LoadU(d, cosines + i), s = hn::LoadU(d, sines + i);
      store(d, hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), first + i);
      store(d, hn::Add(hn::Mul(b, c), hn::Mul(a, s)), second + i);
    }
    for (; i < half; ++i) {
      const auto a = static_cast<float>(first[i]), b = static_cast<float>(second[i]);
      first[i] = T(a * cosines[i] - b * sines[i]);
      second[i] = T(b * cosines[i] + a * sines[i]);
    }
  }
}

void rotate_row(View x, int64_t row, int64_t half, const float* cosines, const float* sines) {
  const int64_t heads = x.columns() / (2 * half);
  if (x.type == DType::f32) {
    rotate(x.as<float>() + row * x.stride(), heads, half, cosines, sines);
  } else {
    rotate(x.as<bf16>() + row * x.stride(), heads, half, cosines, sines);
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(rotate_row);

void rotary_embedding(View x, int64_t head_dim, ConstView positions, const RotaryTable& table,
                      const Stream& stream) {
  const int64_t half = head_dim / 2, known = table.cos.shape()[0];
  stream.threads().parallel_ranges(x.rows(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t position = positions.as<int32_t>()[i];
      require(position >= 0 && position < known, "rotary_embedding", "position outside the table");
      HWY_DYNAMIC_DISPATCH(rotate_row)
      (x, i, half, table.cos.as<float>() + position * half, table.sin.as<float>() + position * half);
    }
  });
}

}  // namespace gorgon::cpu
#endif
