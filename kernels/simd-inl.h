// Vectors of f32 from and to storage of f32 or bf16, and exp, for every instruction set of Highway. Include
// it where foreach_target.h compiles a file again and again: the guard toggles with the target.
#if defined(GORGON_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GORGON_KERNELS_SIMD_INL_H_
#undef GORGON_KERNELS_SIMD_INL_H_
#else
#define GORGON_KERNELS_SIMD_INL_H_
#endif

#include <cstdint>

#include <hwy/highway.h>

#include "kernels/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Full = hn::ScalableTag<float>;
using One = hn::CappedTag<float, 1>;  // for what is left behind the last full vector

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const float* from) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const bf16* from) {
  const hn::Rebind<uint16_t, D> half;
  const hn::RebindToUnsigned<D> whole;
  const auto bits = hn::PromoteTo(whole, hn::LoadU(half, reinterpret_cast<const uint16_t*>(from)));
  return hn::BitCast(d, hn::ShiftLeft<16>(bits));
}

template <class D>
HWY_INLINE void store(D d, hn::Vec<D> value, float* to) {
  hn::StoreU(value, d, to);
}

// The upper halves of `bits`.
template <class D32, class V>
HWY_INLINE void store_upper(D32, V bits, bf16* to) {
  const hn::Rebind<uint16_t, D32> half;
  const hn::Rebind<int32_t, D32> narrow;  // DemoteTo takes signed numbers; the shifted ones fit
  hn::StoreU(hn::DemoteTo(half, hn::BitCast(narrow, hn::ShiftRight<16>(bits))), half,
             reinterpret_cast<uint16_t*>(to));
}

// Rounds to nearest even and keeps NaN (which alone differs from itself), exactly as bf16's constructor does.
template <class D>
HWY_INLINE void store(D, hn::Vec<D> value, bf16* to) {
  const hn::RebindToUnsigned<D> whole;
  const auto bits = hn::BitCast(whole, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(whole, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(whole, 0x7fffu)));
  const auto quiet = hn::Or(bits, hn::Set(whole, 0x400000u));
  const auto nan = hn::RebindMask(whole, hn::Not(hn::Eq(value, value)));
  store_upper(whole, hn::IfThenElse(nan, quiet, rounded), to);
}

// e^x for x <= 0, to 1 ulp where fused multiply-add exists and 2 elsewhere; 0 below -87.3; NaN stays NaN.
// Range reduction and polynomial of expf in Moshier's Cephes library.
template <class D>
HWY_INLINE hn::Vec<D> exp_nonpositive(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> whole;
  const auto k = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504088896341f)));
  auto r = hn::NegMulAdd(k, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(k, hn::Set(d, -2.12194440e-4f), r);
  auto p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const auto exponent = hn::Add(hn::ConvertTo(whole, k), hn::Set(whole, 127));
  const auto power = hn::BitCast(d, hn::ShiftLeft<23>(exponent));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.3f)), hn::Mul(p, power));
}

// 1 / (1 + e^-u), from e^-|u| so that nothing overflows.
template <class D>
HWY_INLINE hn::Vec<D> sigmoid(D d, hn::Vec<D> u) {
  const auto one = hn::Set(d, 1.0f);
  const auto e = exp_nonpositive(d, hn::Neg(hn::Abs(u)));
  return hn::Div(hn::IfThenElse(hn::Lt(u, hn::Zero(d)), e, one), hn::Add(one, e));
}

// Calls f(d, i) for vectors that cover [0, n): full ones, then single elements.
template <class F>
HWY_INLINE void over(int64_t n, const F& f) {
  const Full full;
  const One one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(full));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) f(full, i);
  for (; i < n; ++i) f(one, i);
}

}  // namespace gorgon::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // GORGON_KERNELS_SIMD_INL_H_
