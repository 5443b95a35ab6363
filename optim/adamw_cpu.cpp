// Lookups in tables of bytes (VBMI): Highway builds for such chips on demand.
#define HWY_WANT_AVX3_DL

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
#include "optim/adamw_vbmi-inl.h"
#include "optim/state_codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::load;
using simd::HWY_NAMESPACE::store;
using simd::HWY_NAMESPACE::store_upper;

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

// Largest magnitudes of the new moments.
struct Largest {
  float momentum, variance;
};

// New moments and parameters of a block, in b; param and grad, T[kStateBlock], may be its own. Products and
// sums stay apart: fused ones would make bits depend on the instruction set.
template <typename P, typename G>
Largest update(const P* param, const G* grad, Block& b, const StepFactors& f) {
  const F32 d;
  auto largest_m = hn::Zero(d), largest_v = hn::Zero(d);
  const bool pytorch = f.form == AdamWForm::pytorch;
  const auto beta1 = hn::Set(d, f.beta1), beta2 = hn::Set(d, f.beta2);
  const auto rest1 = hn::Set(d, f.one_minus_beta1), rest2 = hn::Set(d, f.one_minus_beta2);
  const auto grad_scale = hn::Set(d, f.grad_scale), step = hn::Set(d, f.step_size);
  const auto epsilon = hn::Set(d, f.epsilon), c2 = hn::Set(d, f.c2), decay = hn::Set(d, f.decay);
  for (int64_t i = 0; i < kStateBlock; i += lanes()) {
    const auto g = hn::Mul(load(d, grad + i), grad_scale);
    const auto m0 = hn::Load(d, b.momentum + i), v0 = hn::Load(d, b.variance + i);
    const auto v = hn::Add(hn::Mul(beta2, v0), hn::Mul(rest2, hn::Mul(g, g)));
    auto p = load(d, param + i);
    auto m = hn::Add(hn::Mul(beta1, m0), hn::Mul(rest1, g));
    if (pytorch) {
      m = hn::Add(m0, hn::Mul(rest1, hn::Sub(g, m0)));  // lerp
      const auto denominator = hn::Add(hn::Div(hn::Sqrt(v), c2), epsilon);
      p = hn::Sub(hn::Mul(p, decay), hn::Mul(step, hn::Div(m, denominator)));
    } else {
      p = hn::Sub(p, hn::Mul(step, hn::Div(m, hn::Add(hn::Sqrt(v), epsilon))));
      p = hn::Mul(p, decay);
    }
    largest_m = hn::Max(largest_m, hn::Abs(m));
    largest_v = hn::Max(largest_v, v);
    hn::Store(m, d, b.momentum + i);
    hn::Store(v, d, b.variance + i);
    hn::Store(p, d, b.param + i);
  }
  return {hn::GetLane(hn::MaxOfLanes(d, largest_m)), hn::GetLane(hn::MaxOfLanes(d, largest_v))};
}

// The last block of a tensor may be short: it is padded first.
template <typename P, typename G>
Largest update(const P* param, const G* grad, int64_t n, Block& b, const StepFactors& f) {
  if (n == kStateBlock) return update(param, grad, b, f);
  fetch(param, n, b.param);
  fetch(grad, n, b.grad);
  return update(b.param, b.grad, b, f);
}

#if HWY_TARGET == HWY_SCALAR  // one lane: no even and odd ones
void random_block(const StepFactors& f, uint64_t block, uint32_t* random) {
  for (uint64_t i = 0; i < kStateBlock; ++i) {
    random[i] = rounding_bits(f.seed, static_cast<uint32_t>(f.counter_high >> 32),
                              static_cast<uint32_t>(f.counter_high), block * kStateBlock + i);
  }
}
#else
// A round of Philox. Its four counters are the lower halves of 64-bit lanes, whose upper halves mean nothing:
// a product of 32 by 32 bits needs no shuffling there. (No struct of vectors: on aarch64 a default
// constructor that GCC makes by itself lacks the instruction set.)
HWY_INLINE void philox_round(hn::Vec<U32> multiplier0, hn::Vec<U32> multiplier1, hn::Vec<U32> key0,
                             hn::Vec<U32> key1, hn::Vec<U32> (&c)[4]) {
  const U32 d;
  const auto product0 = hn::MulEven(c[0], multiplier0), product1 = hn::MulEven(c[2], multiplier1);
  c[0] = hn::Xor(hn::Xor(hn::BitCast(d, hn::ShiftRight<32>(product1)), c[1]), key0);
  c[2] = hn::Xor(hn::Xor(hn::BitCast(d, hn::ShiftRight<32>(product0)), c[3]), key1);
  c[1] = hn::BitCast(d, product1);
  c[3] = hn::BitCast(d, product0);
}

// rounding_bits() of the 256 elements of one block: lanes are calls of Philox, even ones and odd ones apart.
// A round waits for the products of the one before: several chains at a time, as many as registers hold.
constexpr int64_t kTogether = HWY_TARGET <= HWY_AVX3 ? 2 : 1;

void random_block(const StepFactors& f, uint64_t block, uint32_t* random) {
  const U32 d;
  const hn::RepartitionToWide<U32> d64;
  const uint64_t first = block * 32;  // its 32 counters share the upper half
  const auto multiplier0 = hn::Set(d, 0xD2511F53u), multiplier1 = hn::Set(d, 0xCD9E8D57u);
  const auto c1 = hn::Set(d, static_cast<uint32_t>(first >> 32));
  const auto c2 = hn::Set(d, static_cast<uint32_t>(f.counter_high));
  const auto c3 = hn::Set(d, static_cast<uint32_t>(f.counter_high >> 32));
  const auto low_half = hn::Set(d, 0xffffu);
  for (int64_t i = 0; i < 32; i += kTogether * lanes()) {
    hn::Vec<U32> even[kTogether][4], odd[kTogether][4];
    for (int64_t t = 0; t < kTogether; ++t) {
      const auto calls = hn::Iota(d, static_cast<uint32_t>(first) + static_cast<uint32_t>(i + t * lanes()));
      even[t][0] = calls;
      odd[t][0] = hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(d64, calls)));
      even[t][1] = odd[t][1] = c1;
      even[t][2] = odd[t][2] = c2;
      even[t][3] = odd[t][3] = c3;
    }
    auto k0 = static_cast<uint32_t>(f.seed), k1 = static_cast<uint32_t>(f.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const auto key0 = hn::Set(d, k0), key1 = hn::Set(d, k1);
      for (int64_t t = 0; t < kTogether; ++t) {
        philox_round(multiplier0, multiplier1, key0, key1, even[t]);
        philox_round(multiplier0, multiplier1, key0, key1, odd[t]);
      }
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const auto put = [&](int64_t at, hn::Vec<U32> of_even, hn::Vec<U32> of_odd) HWY_ATTR {
      const auto moved = hn::BitCast(d, hn::ShiftLeft<32>(hn::BitCast(d64, of_odd)));
      const auto word = hn::OddEven(moved, of_even);
      hn::Store(hn::And(word, low_half), d, random + at);
      hn::Store(hn::ShiftRight<16>(word), d, random + at + 32);
    };
    for (int64_t t = 0; t < kTogether; ++t) {
      const int64_t at = i + t * lanes();
      for (int64_t word = 0; word < 4; ++word) put(at + 64 * word, even[t][word], odd[t][word]);
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

template <typename T>
void step_block(const StepFactors& f, const ParamGroup& group, const AdamWState& state, int64_t block) {
  const int64_t begin = block * kStateBlock, n = std::min(kStateBlock, group.param.elements() - begin);
  const bool eight_bit = state.momentum.type == DType::u8, master = state.master.data != nullptr;
  T* param = group.param.as<T>() + begin;
  const T* grad = group.grad.as<T>() + begin;
  Block b;
  if (eight_bit) {
    fetch_codes<true>(state.momentum.as<uint8_t>() + begin, n, state.momentum_absmax.as<float>()[block],
                      b.momentum);
    fetch_codes<false>(state.variance.as<uint8_t>() + begin, n, state.variance_absmax.as<float>()[block],
                       b.variance);
  } else {
    fetch(state.momentum.as<float>() + begin, n, b.momentum);
    fetch(state.variance.as<float>() + begin, n, b.variance);
  }
  const auto [m, v] =
      master ? update(state.master.as<float>() + begin, grad, n, b, f) : update(param, grad, n, b, f);
  if (eight_bit) {
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
  for (int64_t block = step_whole_blocks(f, group, state, begin, end); block < end; ++block) {
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
