// What the ways of state_codes-inl.h share.
#if defined(GORGON_OPTIM_STATE_CODES_BASE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GORGON_OPTIM_STATE_CODES_BASE_INL_H_
#undef GORGON_OPTIM_STATE_CODES_BASE_INL_H_
#else
#define GORGON_OPTIM_STATE_CODES_BASE_INL_H_
#endif

#include <bit>
#include <cstdint>

#include <hwy/highway.h>

#include "kernels/code_map.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using U32 = hn::RebindToUnsigned<F32>;
using VF = hn::Vec<F32>;

HWY_INLINE int64_t lanes() {
  return static_cast<int64_t>(hn::Lanes(F32()));
}

// 2^23: the sum with a number of 0 to 255 has the number, rounded, in its lowest bits.
constexpr float kToBits = 8388608.0f;

// The code of x, from one that is at most a step or two away.
template <bool kSigned>
uint8_t settled(float x, float absmax, size_t code) {
  const CodeMap& map = kSigned ? signed_code_map() : unsigned_code_map();
  const float quotient = x / absmax;
  while (code > 0 && quotient < map.thresholds[code - 1]) --code;
  while (code < 255 && quotient >= map.thresholds[code]) ++code;
  if (kSigned && x < 0.0f && code == map.zero) --code;
  return static_cast<uint8_t>(code);
}

template <bool kSigned>
void settle(uint64_t which, const float* x, float absmax, uint8_t* codes) {
  for (; which != 0; which &= which - 1) {
    const int i = std::countr_zero(which);
    codes[i] = settled<kSigned>(x[i], absmax, codes[i]);
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // GORGON_OPTIM_STATE_CODES_BASE_INL_H_
