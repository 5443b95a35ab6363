#include "kernels/ranks/reduction.h"

#include <algorithm>
#include <string>

#include "kernels/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ranks/reduction.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Parts = std::span<const std::byte* const>;

const bf16* bf16_part(Parts parts, size_t r) {
  return reinterpret_cast<const bf16*>(parts[r]);
}
const float* f32_part(Parts parts, size_t r) {
  return reinterpret_cast<const float*>(parts[r]);
}

void sum_bf16(Parts parts, std::byte* to, int64_t count) {
  simd::HWY_NAMESPACE::over(count, [&](auto d, int64_t i) HWY_ATTR {
    auto sum = simd::HWY_NAMESPACE::load(d, bf16_part(parts, 0) + i);
    for (size_t r = 1; r < parts.size(); ++r)
      sum = hn::Add(sum, simd::HWY_NAMESPACE::load(d, bf16_part(parts, r) + i));
    simd::HWY_NAMESPACE::store(d, sum, reinterpret_cast<bf16*>(to) + i);
  });
}

// [begin, end), vectors of D = f64.
template <class D>
HWY_INLINE int64_t sum_f32_by(D d, Parts parts, float* to, int64_t begin, int64_t end) {
  const hn::Rebind<float, D> narrow;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    auto sum = hn::PromoteTo(d, hn::LoadU(narrow, f32_part(parts, 0) + i));
    for (size_t r = 1; r < parts.size(); ++r)
      sum = hn::Add(sum, hn::PromoteTo(d, hn::LoadU(narrow, f32_part(parts, r) + i)));
    hn::StoreU(hn::DemoteTo(narrow, sum), narrow, to + i);
  }
  return i;
}

void sum_f32(Parts parts, std::byte* to, int64_t count) {
  auto* values = reinterpret_cast<float*>(to);
  const int64_t done = sum_f32_by(hn::ScalableTag<double>(), parts, values, 0, count);
  sum_f32_by(hn::CappedTag<double, 1>(), parts, values, done, count);
}

}  // namespace gorgon::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon {

HWY_EXPORT(sum_bf16);
HWY_EXPORT(sum_f32);

namespace {

// What travels in small numbers: T = storage, A = what is compared or added up.
template <typename T, typename A = T>
void reduce(std::span<const std::byte* const> parts, std::byte* to, int64_t count, ReduceOp op) {
  for (int64_t i = 0; i < count; ++i) {
    auto total = static_cast<A>(reinterpret_cast<const T*>(parts[0])[i]);
    for (size_t r = 1; r < parts.size(); ++r) {
      const auto value = static_cast<A>(reinterpret_cast<const T*>(parts[r])[i]);
      total = op == ReduceOp::sum ? static_cast<A>(total + value) : std::max(total, value);
    }
    reinterpret_cast<T*>(to)[i] = static_cast<T>(total);
  }
}

}  // namespace

void reduce_parts(std::span<const std::byte* const> parts, std::byte* to, DType type, int64_t count,
                  ReduceOp op) {
  if (type == DType::bf16 && op == ReduceOp::sum) return HWY_DYNAMIC_DISPATCH(sum_bf16)(parts, to, count);
  if (type == DType::f32 && op == ReduceOp::sum) return HWY_DYNAMIC_DISPATCH(sum_f32)(parts, to, count);
  switch (type) {
    case DType::bf16:
      return reduce<bf16, float>(parts, to, count, op);
    case DType::f32:
      return reduce<float>(parts, to, count, op);
    case DType::i32:
      return reduce<int32_t>(parts, to, count, op);
    case DType::i64:
      return reduce<int64_t>(parts, to, count, op);
    case DType::u8:
      return reduce<uint8_t>(parts, to, count, op);
    default:
      fail_internal("reduce_parts", "a reduction of " + std::string(name(type)));
  }
}

}  // namespace gorgon
#endif  // HWY_ONCE
