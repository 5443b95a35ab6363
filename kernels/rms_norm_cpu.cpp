#include <cmath>

#include "kernels/rms_norm.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rms_norm_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::load;
using simd::HWY_NAMESPACE::store;

float sum_of_squares(const float* x, int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto even = hn::Zero(d), odd = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + i + lanes);
    even = hn::MulAdd(a, a, even);
    odd = hn::MulAdd(b, b, odd);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  for (; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

template <typename T>
void normalise(const float* x, const float* weight, float epsilon, int64_t n, T* y) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float scale = 1.0f / std::sqrt(sum_of_squares(x, n) / static_cast<float>(n) + epsilon);
  const auto scales = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    store(d, hn::Mul(hn::LoadU(d, weight + i), hn::Mul(hn::LoadU(d, x + i), scales)), y + i);
  }
  for (; i < n; ++i) y[i] = T(weight[i] * (x[i] * scale));
}

void normalise_rows(ConstView x, const float* weight, float epsilon, View y, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const float* row = x.as<float>() + i * x.stride();
    if (y.type == DType::f32) {
      normalise(row, weight, epsilon, x.columns(), y.as<float>() + i * y.stride());
    } else {
      normalise(row, weight, epsilon, x.columns(), y.as<bf16>() + i * y.stride());
    }
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(normalise_rows);

void rms_norm(ConstView x, ConstView weight, float epsilon, View y, const Stream& stream) {
  stream.threads().parallel_ranges(x.rows(), 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(normalise_rows)(x, weight.as<float>(), epsilon, y, begin, end);
  });
}

}  // namespace gorgon::cpu
#endif
