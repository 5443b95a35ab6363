#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/fixed_vectors.h"  // lookups by lane
#include "kernels/thread_pool.h"
#include "optim/adamw.h"
#include "optim/adamw_block.h"
#include "optim/stochastic_rounding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optim/adamw_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::load;
using simd::HWY_NAMESPACE::store;
using simd::HWY_NAMESPACE::store_upper;
using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using U32 = hn::RebindToUnsigned<F32>;
using VF = hn::Vec<F32>;

HWY_INLINE int64_t lanes() {
  return static_cast<int64_t>(hn::Lanes(F32()));
}

// One block of 256 elements in the cache, padded with zeros behind the last element of the tensor.
struct Block {
  HWY_ALIGN float param[kStateBlock];
  HWY_ALIGN float grad[kStateBlock];
  HWY_ALIGN float momentum[kStateBlock];
  HWY_ALIGN float variance[kStateBlock];
  HWY_ALIGN uint32_t random[kStateBlock];
};

template <typename T>
void fetch(const T* from, int64_t n, float* to) {
  simd::HWY_NAMESPACE::over(n, [&](auto d, int64_t i) HWY_ATTR { store(d, load(d, from + i), to + i); });
  std::fill(to + n, to + kStateBlock, 0.0f);
}

#if HWY_TARGET <= HWY_AVX3  // two registers hold 32 values of the map
// values[codes] for 256 codes: eight lookups in 32 values each, the upper bits choose among them.
void decode_block(const uint8_t* codes, const float* values, hn::Vec<F32> scale, float* to) {
  const F32 d;
  const I32 whole;
  const hn::Rebind<uint8_t, F32> bytes;
  __m512 table[16];
  for (int i = 0; i < 16; ++i) table[i] = hn::LoadU(d, values + 16 * i).raw;
  for (int64_t i = 0; i < kStateBlock; i += 16) {
    const __m512i code = hn::PromoteTo(whole, hn::LoadU(bytes, codes + i)).raw;
    const __mmask16 bit5 = _mm512_test_epi32_mask(code, _mm512_set1_epi32(32));
    const __mmask16 bit6 = _mm512_test_epi32_mask(code, _mm512_set1_epi32(64));
    const __mmask16 bit7 = _mm512_test_epi32_mask(code, _mm512_set1_epi32(128));
    const auto pick = [&](int at) HWY_ATTR { return _mm512_permutex2var_ps(table[at], code, table[at + 1]); };
    const auto pick64 = [&](int at) HWY_ATTR { return _mm512_mask_mov_ps(pick(at), bit5, pick(at + 2)); };
    const auto pick128 = [&](int at)
                             HWY_ATTR { return _mm512_mask_mov_ps(pick64(at), bit6, pick64(at + 4)); };
    const __m512 value = _mm512_mask_mov_ps(pick128(0), bit7, pick128(8));
    hn::Store(hn::Mul(hn::Vec<F32>{value}, scale), d, to + i);
  }
}
#else
void decode_block(const uint8_t* codes, const float* values, hn::Vec<F32> scale, float* to) {
  const F32 d;
  for (int64_t i = 0; i < kStateBlock; ++i) to[i] = values[codes[i]];
  for (int64_t i = 0; i < kStateBlock; i += lanes())
    hn::Store(hn::Mul(hn::Load(d, to + i), scale), d, to + i);
}
#endif

void fetch_codes(const uint8_t* codes, int64_t n, const CodeMap& map, float absmax, float* to) {
  const auto scale = hn::Set(F32(), absmax);
  if (n == kStateBlock) {
    decode_block(codes, map.values.data(), scale, to);
    return;
  }
  uint8_t padded[kStateBlock];
  std::fill(std::copy(codes, codes + n, padded), padded + kStateBlock, map.zero);
  decode_block(padded, map.values.data(), scale, to);
}

// Products and sums stay apart: fused ones would make bits depend on the instruction set.
void update(Block& b, const StepFactors& f) {
  const F32 d;
  const bool pytorch = f.form == AdamWForm::pytorch;
  const auto beta1 = hn::Set(d, f.beta1), beta2 = hn::Set(d, f.beta2);
  const auto rest1 = hn::Set(d, f.one_minus_beta1), rest2 = hn::Set(d, f.one_minus_beta2);
  const auto grad_scale = hn::Set(d, f.grad_scale), step = hn::Set(d, f.step_size);
  const auto epsilon = hn::Set(d, f.epsilon), c2 = hn::Set(d, f.c2), decay = hn::Set(d, f.decay);
  for (int64_t i = 0; i < kStateBlock; i += lanes()) {
    const auto g = hn::Mul(hn::Load(d, b.grad + i), grad_scale);
    const auto m0 = hn::Load(d, b.momentum + i), v0 = hn::Load(d, b.variance + i);
    const auto v = hn::Add(hn::Mul(beta2, v0), hn::Mul(rest2, hn::Mul(g, g)));
    auto p = hn::Load(d, b.param + i);
    auto m = hn::Add(hn::Mul(beta1, m0), hn::Mul(rest1, g));
    if (pytorch) {
      m = hn::Add(m0, hn::Mul(rest1, hn::Sub(g, m0)));  // lerp
      const auto denominator = hn::Add(hn::Div(hn::Sqrt(v), c2), epsilon);
      p = hn::Sub(hn::Mul(p, decay), hn::Mul(step, hn::Div(m, denominator)));
    } else {
      p = hn::Sub(p, hn::Mul(step, hn::Div(m, hn::Add(hn::Sqrt(v), epsilon))));
      p = hn::Mul(p, decay);
    }
    hn::Store(m, d, b.momentum + i);
    hn::Store(v, d, b.variance + i);
    hn::Store(p, d, b.param + i);
  }
}

#if HWY_TARGET == HWY_SCALAR  // one lane: no even and odd ones
void random_block(const StepFactors& f, uint64_t block, uint32_t* random) {
  for (uint64_t i = 0; i < kStateBlock; ++i) {
    random[i] = rounding_bits(f.seed, static_cast<uint32_t>(f.counter_high >> 32),
                              static_cast<uint32_t>(f.counter_high), block * kStateBlock + i);
  }
}
#else
// High and low halves of 32 by 32 bits.
HWY_INLINE void multiply_wide(hn::Vec<U32> a, uint32_t multiplier, hn::Vec<U32>& high, hn::Vec<U32>& low) {
  const U32 d;
  const hn::RepartitionToWide<U32> d64;
  const auto k = hn::Set(d, multiplier);
  const auto even = hn::MulEven(a, k);
  const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(d64, a))), k);
  high = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
  low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
}

// rounding_bits() of the 256 elements of one block: lanes are calls of Philox.
void random_block(const StepFactors& f, uint64_t block, uint32_t* random) {
  const U32 d;
  const uint64_t first = block * 32;  // its 32 counters share the upper half
  for (int64_t i = 0; i < 32; i += lanes()) {
    auto c0 = hn::Iota(d, static_cast<uint32_t>(first) + static_cast<uint32_t>(i));
    auto c1 = hn::Set(d, static_cast<uint32_t>(first >> 32));
    auto c2 = hn::Set(d, static_cast<uint32_t>(f.counter_high));
    auto c3 = hn::Set(d, static_cast<uint32_t>(f.counter_high >> 32));
    auto k0 = static_cast<uint32_t>(f.seed), k1 = static_cast<uint32_t>(f.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      auto high0 = c0, low0 = c0, high1 = c0, low1 = c0;
      multiply_wide(c0, 0xD2511F53u, high0, low0);
      multiply_wide(c2, 0xCD9E8D57u, high1, low1);
      c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(d, k0));
      c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(d, k1));
      c1 = low1;
      c3 = low0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const auto low_half = hn::Set(d, 0xffffu);
    int64_t at = i;
    for (const auto& word : {c0, c1, c2, c3}) {
      hn::Store(hn::And(word, low_half), d, random + at);
      hn::Store(hn::ShiftRight<16>(word), d, random + at + 32);
      at += 64;
    }
  }
}

#endif  // HWY_SCALAR

// round_stochastically() of a whole block.
void round_block(const float* from, const uint32_t* random, bf16* to) {
  const F32 d;
  const U32 whole;
  for (int64_t i = 0; i < kStateBlock; i += lanes()) {
    const auto value = hn::Load(d, from + i);
    const auto nan = hn::RebindMask(whole, hn::Not(hn::Eq(value, value)));
    const auto bits = hn::BitCast(whole, value);
    const auto sum = hn::Add(bits, hn::Load(whole, random + i));
    store_upper(whole, hn::IfThenElse(nan, hn::Or(bits, hn::Set(whole, 0x400000u)), sum), to + i);
  }
}

float absmax_of(const float* x) {
  const F32 d;
  auto max = hn::Zero(d);
  for (int64_t i = 0; i < kStateBlock; i += lanes()) max = hn::Max(max, hn::Abs(hn::Load(d, x + i)));
  return hn::GetLane(hn::MaxOfLanes(d, max));
}

HWY_INLINE VF lookup(const std::array<float, 16>& table, hn::Vec<I32> index) {
  const F32 d;
#if HWY_MAX_BYTES >= 32
  return hn::TableLookupLanes(hn::Load(d, table.data()), hn::IndicesFromVec(d, index));
#else
  return hn::GatherIndex(d, table.data(), index);
#endif
}

// 2^23: the sum with a number of 0 to 255 has the number, rounded, in its lowest bits.
constexpr float kToBits = 8388608.0f;

// Rank of x >= 0 by RankFormula; `unsure` where only a search can tell.
HWY_INLINE VF rank_of(VF x, const RankFormula& f, hn::Mask<F32>& unsure) {
  const F32 d;
  const I32 whole;
  const auto band = hn::Set(d, RankFormula::kBand);
  const auto log = hn::MulAdd(hn::ConvertTo(d, hn::BitCast(whole, x)), hn::Set(d, f.segment_slope),
                              hn::Set(d, f.segment_offset));
  const auto clamped = hn::Min(hn::Max(log, hn::Zero(d)), hn::Set(d, 7.0f));
  const auto segment = hn::And(hn::BitCast(whole, hn::Add(clamped, hn::Set(d, kToBits))), hn::Set(whole, 7));
  const auto position = hn::MulAdd(x, lookup(f.slope, segment), lookup(f.offset, segment));
  const auto high = lookup(f.high, segment), floor = hn::Floor(position);
  const auto part = hn::Sub(position, floor);
  const auto to_top = hn::Sub(position, hn::Set(d, f.top));
  unsure = hn::Or(hn::Or(hn::Lt(part, band), hn::Gt(part, hn::Sub(hn::Set(d, 1.0f), band))),
                  hn::Lt(hn::Abs(to_top), band));
  auto rank = hn::Max(floor, lookup(f.low, segment));
  rank = hn::IfThenElse(hn::Ge(rank, high), hn::Sub(rank, hn::Set(d, 1.0f)), rank);
  return hn::IfThenElse(hn::Ge(to_top, hn::Zero(d)), hn::Set(d, f.top_rank), hn::Min(rank, high));
}

template <bool kSigned>
void encode(const float* x, int64_t n, float absmax, uint8_t* codes) {
  const auto exact = [&](int64_t i) {
    codes[i] = kSigned ? momentum_code(x[i], absmax) : variance_code(x[i], absmax);
  };
  // From a code that is at most a step or two away.
  const CodeMap& map = kSigned ? signed_code_map() : unsigned_code_map();
  const auto settle = [&](int64_t i) {
    const float quotient = x[i] / absmax;
    size_t code = codes[i];
    while (code > 0 && quotient < map.thresholds[code - 1]) --code;
    while (code < 255 && quotient >= map.thresholds[code]) ++code;
    if (kSigned && x[i] < 0.0f && code == map.zero) --code;
    codes[i] = static_cast<uint8_t>(code);
  };
  if (absmax == 0.0f) {
    std::memset(codes, map.zero, static_cast<size_t>(n));
    return;
  }
  int64_t i = 0;
  if (absmax > 1e-30f) {  // 1 / absmax is far from overflow
    const F32 d;
    const hn::Rebind<uint8_t, F32> bytes;
    const RankFormula& formula = kSigned ? momentum_ranks() : variance_ranks();
    const auto inverse = hn::Set(d, 1.0f / absmax), middle = hn::Set(d, 127.0f);
    for (; i + lanes() <= n; i += lanes()) {
      const auto value = hn::Load(d, x + i);
      hn::Mask<F32> unsure;
      auto code = rank_of(hn::Mul(hn::Abs(value), inverse), formula, unsure);
      if constexpr (kSigned) {  // no value is -1, and nothing negative becomes 0
        const auto below = hn::Sub(middle, hn::Min(hn::Max(code, hn::Set(d, 1.0f)), middle));
        code = hn::IfThenElse(hn::Lt(value, hn::Zero(d)), below, hn::Add(middle, code));
      }
      const auto in_low_bits = hn::BitCast(U32(), hn::Add(code, hn::Set(d, kToBits)));
      hn::StoreU(hn::U8FromU32(hn::And(in_low_bits, hn::Set(U32(), 255u))), bytes, codes + i);
      if (HWY_UNLIKELY(!hn::AllFalse(d, unsure))) {
        uint64_t bits = 0;
        hn::StoreMaskBits(d, unsure, reinterpret_cast<uint8_t*>(&bits));
        for (; bits != 0; bits &= bits - 1) settle(i + std::countr_zero(bits));
      }
    }
  }
  for (; i < n; ++i) exact(i);
}

template <typename T>
void step_block(const StepFactors& f, const ParamGroup& group, const AdamWState& state, int64_t block) {
  const int64_t begin = block * kStateBlock, n = std::min(kStateBlock, group.param.elements() - begin);
  const bool eight_bit = state.momentum.type == DType::u8, master = state.master.data != nullptr;
  T* param = group.param.as<T>() + begin;
  Block b;
  fetch(group.grad.as<T>() + begin, n, b.grad);
  if (master) {
    fetch(state.master.as<float>() + begin, n, b.param);
  } else {
    fetch(param, n, b.param);
  }
  if (eight_bit) {
    fetch_codes(state.momentum.as<uint8_t>() + begin, n, signed_code_map(),
                state.momentum_absmax.as<float>()[block], b.momentum);
    fetch_codes(state.variance.as<uint8_t>() + begin, n, unsigned_code_map(),
                state.variance_absmax.as<float>()[block], b.variance);
  } else {
    fetch(state.momentum.as<float>() + begin, n, b.momentum);
    fetch(state.variance.as<float>() + begin, n, b.variance);
  }
  update(b, f);
  if (eight_bit) {
    const float m = absmax_of(b.momentum), v = absmax_of(b.variance);
    encode<true>(b.momentum, n, m, state.momentum.as<uint8_t>() + begin);
    encode<false>(b.variance, n, v, state.variance.as<uint8_t>() + begin);
    state.momentum_absmax.as<float>()[block] = m;
    state.variance_absmax.as<float>()[block] = v;
  } else {
    std::copy(b.momentum, b.momentum + n, state.momentum.as<float>() + begin);
    std::copy(b.variance, b.variance + n, state.variance.as<float>() + begin);
  }
  if (master) std::copy(b.param, b.param + n, state.master.as<float>() + begin);
  if (master || sizeof(T) == sizeof(float)) {
    simd::HWY_NAMESPACE::over(n,
                              [&](auto d, int64_t i) HWY_ATTR { store(d, load(d, b.param + i), param + i); });
  } else if constexpr (sizeof(T) == sizeof(bf16)) {
    random_block(f, static_cast<uint64_t>((group.global_offset + begin) / kRoundingBlock), b.random);
    bf16 rounded[kStateBlock];
    round_block(b.param, b.random, n == kStateBlock ? param : rounded);
    if (n < kStateBlock) std::copy(rounded, rounded + n, param);
  }
}

void step_blocks(const StepFactors& f, const ParamGroup& group, const AdamWState& state, int64_t begin,
                 int64_t end) {
  for (int64_t block = begin; block < end; ++block) {
    if (group.param.type == DType::f32) {
      step_block<float>(f, group, state, block);
    } else {
      step_block<bf16>(f, group, state, block);
    }
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(step_blocks);

void adamw_step(const ParamGroup& group, const AdamWState& state, const AdamWOptions& options,
                const StepScalars* scalars, const Stream& stream) {
  if (scalars->skip != 0) return;
  const auto step = HWY_DYNAMIC_DISPATCH(step_blocks);
  const StepFactors factors = step_factors(group, options, *scalars);
  const int64_t blocks = (group.param.elements() + kStateBlock - 1) / kStateBlock;
  stream.threads().parallel_ranges(
      blocks, 64, [&](int64_t begin, int64_t end) { step(factors, group, state, begin, end); });
}

}  // namespace gorgon::cpu
#endif  // HWY_ONCE
