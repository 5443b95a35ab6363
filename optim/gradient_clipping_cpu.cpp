#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/thread_pool.h"
#include "optim/gradient_clipping.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optim/gradient_clipping_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::load;

template <typename T>
double squares(const T* values, int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto even = hn::Zero(d), odd = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto a = load(d, values + i), b = load(d, values + i + lanes);
    even = hn::MulAdd(a, a, even);
    odd = hn::MulAdd(b, b, odd);
  }
  double rest = 0;
  for (; i < n; ++i) {
    const auto v = static_cast<double>(static_cast<float>(values[i]));
    rest += v * v;
  }
  return static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)))) + rest;
}

double squares_of(const std::byte* values, DType type, int64_t begin, int64_t n) {
  return type == DType::f32 ? squares(reinterpret_cast<const float*>(values) + begin, n)
                            : squares(reinterpret_cast<const bf16*>(values) + begin, n);
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(squares_of);

void square_sum(ConstView values, View sum, const Stream& stream) {
  const auto squares = HWY_DYNAMIC_DISPATCH(squares_of);
  const int64_t n = values.elements();
  std::vector<double> pieces(static_cast<size_t>((n + kNormPiece - 1) / kNormPiece));
  stream.threads().parallel_ranges(static_cast<int64_t>(pieces.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      pieces[static_cast<size_t>(i)] =
          squares(values.data, values.type, i * kNormPiece, std::min(kNormPiece, n - i * kNormPiece));
    }
  });
  *sum.as<float>() = static_cast<float>(std::accumulate(pieces.begin(), pieces.end(), 0.0));
}

}  // namespace gorgon::cpu
#endif  // HWY_ONCE
