// AdamW of bf16 parameters with 8-bit states, whole blocks at a time, where a register's bytes are looked up
// in another two (AVX-512 with VBMI). What one part of it waits for, another one's instructions fill: random
// bits are drawn a block ahead, between the moments of this one, and codes are made a block later.
#if defined(GORGON_OPTIM_ADAMW_VBMI_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GORGON_OPTIM_ADAMW_VBMI_INL_H_
#undef GORGON_OPTIM_ADAMW_VBMI_INL_H_
#else
#define GORGON_OPTIM_ADAMW_VBMI_INL_H_
#endif

#include <algorithm>

#include <hwy/highway.h>

#include "optim/adamw.h"
#include "optim/adamw_block.h"
#include "optim/state_codes-inl.h"
#include "optim/stochastic_rounding.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3_DL
// Round keys and counters of Philox for a parameter's step.
struct PhiloxKeys {
  uint32_t key[10][2];
  uint32_t counter2, counter3;

  explicit PhiloxKeys(const StepFactors& f)
      : counter2(static_cast<uint32_t>(f.counter_high)),
        counter3(static_cast<uint32_t>(f.counter_high >> 32)) {
    auto k0 = static_cast<uint32_t>(f.seed), k1 = static_cast<uint32_t>(f.seed >> 32);
    for (auto& key_of_round : key) {
      key_of_round[0] = k0;
      key_of_round[1] = k1;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
  }
};

// Eight calls of Philox in the lower halves of 64-bit lanes, whose upper halves mean nothing.
struct PhiloxCalls {
  __m512i c0, c1, c2, c3;

  // Calls first, first + 4 and so on.
  HWY_INLINE PhiloxCalls(const PhiloxKeys& keys, uint64_t first)
      : c0(_mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(static_cast<uint32_t>(first))),
                            _mm512_setr_epi64(0, 4, 8, 12, 16, 20, 24, 28))),
        c1(_mm512_set1_epi32(static_cast<int>(static_cast<uint32_t>(first >> 32)))),
        c2(_mm512_set1_epi32(static_cast<int>(keys.counter2))),
        c3(_mm512_set1_epi32(static_cast<int>(keys.counter3))) {}

  HWY_INLINE void rounds(const PhiloxKeys& keys, int from, int to) {
    const __m512i multiplier0 = _mm512_set1_epi32(static_cast<int>(0xD2511F53u));
    const __m512i multiplier1 = _mm512_set1_epi32(static_cast<int>(0xCD9E8D57u));
    for (int r = from; r < to; ++r) {
      const __m512i product0 = _mm512_mul_epu32(c0, multiplier0),
                    product1 = _mm512_mul_epu32(c2, multiplier1);
      c0 = either_or(_mm512_srli_epi64(product1, 32), c1, keys.key[r][0]);
      c2 = either_or(_mm512_srli_epi64(product0, 32), c3, keys.key[r][1]);
      c1 = product1;
      c3 = product0;
    }
  }
  static HWY_INLINE __m512i either_or(__m512i a, __m512i b, uint32_t key) {
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi32(static_cast<int>(key)), 0x96);
  }
};

// Random bits of a block as Philox gives them: word w of calls 0, 4, .. in part 0, 2, 6, .. in part 1, then
// the odd ones.
struct RandomWords {
  alignas(64) uint64_t part[4][4][8];
  static uint64_t first_call(uint64_t block, size_t at) { return block * 32 + at / 2 + 2 * (at % 2); }

  HWY_INLINE void put(size_t at, const PhiloxCalls& calls) {
    _mm512_store_si512(part[at][0], calls.c0);
    _mm512_store_si512(part[at][1], calls.c1);
    _mm512_store_si512(part[at][2], calls.c2);
    _mm512_store_si512(part[at][3], calls.c3);
  }
  // Word w of the even calls or of the odd ones, in order.
  HWY_INLINE __m512i get(size_t odd, size_t w) const {
    return _mm512_mask_shuffle_epi32(_mm512_load_si512(part[2 * odd][w]), 0xaaaa,
                                     _mm512_load_si512(part[2 * odd + 1][w]), _MM_PERM_CCAA);
  }
};

// New moments of a block, 64 elements after another in the order InPairs.
struct NewMoments {
  alignas(64) float momentum[kStateBlock], variance[kStateBlock];
  float momentum_absmax, variance_absmax;
};

// One block's way through the step; constants stay in registers as far as they go.
class PairedBlocks {
 public:
  PairedBlocks(const StepFactors& f, const ParamGroup& group, const AdamWState& state)
      : f_(f), keys_(f), group_(group), state_(state) {}

  void draw(int64_t block, RandomWords& random) const {
    for (size_t at = 0; at < 4; ++at) {
      PhiloxCalls calls(keys_, RandomWords::first_call(number(block), at));
      calls.rounds(keys_, 0, 10);
      random.put(at, calls);
    }
  }

  // Steps the parameters of a block and leaves its new moments to encode(); draws for the next block.
  void update(int64_t block, const RandomWords& random, RandomWords& next, NewMoments& moments) const {
    const Decoder<true, InPairs> decode_momentum(byte_planes<true>());
    const Decoder<false, InPairs> decode_variance(byte_planes<false>());
    const int64_t begin = block * kStateBlock;
    bf16* param = group_.param.as<bf16>() + begin;
    const bf16* grad = group_.grad.as<bf16>() + begin;
    const __m512 m_absmax = _mm512_set1_ps(state_.momentum_absmax.as<float>()[block]);
    const __m512 v_absmax = _mm512_set1_ps(state_.variance_absmax.as<float>()[block]);
    Largest largest{_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t word = 0; word < 4; ++word) {
      const size_t at = 64 * word;
      __m512 m[4], v[4];
      decode_momentum(state_.momentum.as<uint8_t>() + begin + at, m_absmax, m);
      decode_variance(state_.variance.as<uint8_t>() + begin + at, v_absmax, v);
      PhiloxCalls calls(keys_, RandomWords::first_call(number(block + 1), word));
      const __m512i even = random.get(0, word), odd = random.get(1, word);
      const __m512i low = _mm512_set1_epi32(0xffff);
      calls.rounds(keys_, 0, 3);
      pairs(param + at, grad + at, m, v, _mm512_and_si512(even, low), _mm512_and_si512(odd, low), largest);
      calls.rounds(keys_, 3, 7);
      pairs(param + at + 32, grad + at + 32, m + 2, v + 2, _mm512_srli_epi32(even, 16),
            _mm512_srli_epi32(odd, 16), largest);
      calls.rounds(keys_, 7, 10);
      next.put(word, calls);
      for (size_t vector = 0; vector < 4; ++vector) {
        _mm512_store_ps(moments.momentum + at + 16 * vector, m[vector]);
        _mm512_store_ps(moments.variance + at + 16 * vector, v[vector]);
      }
    }
    moments.momentum_absmax = _mm512_reduce_max_ps(largest.momentum);
    moments.variance_absmax = _mm512_reduce_max_ps(largest.variance);
  }

  void encode(int64_t block, const NewMoments& moments) const {
    const int64_t begin = block * kStateBlock;
    encode_paired<true>(moments.momentum, moments.momentum_absmax, state_.momentum.as<uint8_t>() + begin);
    encode_paired<false>(moments.variance, moments.variance_absmax, state_.variance.as<uint8_t>() + begin);
    state_.momentum_absmax.as<float>()[block] = moments.momentum_absmax;
    state_.variance_absmax.as<float>()[block] = moments.variance_absmax;
  }

 private:
  struct Largest {
    __m512 momentum, variance;
  };

  uint64_t number(int64_t block) const {  // in the logical tensor
    return static_cast<uint64_t>(group_.global_offset / kStateBlock + block);
  }

  // 32 elements; m and v: their moments, even ones and odd ones, replaced by the new ones.
  HWY_INLINE void pairs(bf16* param, const bf16* grad, __m512* m, __m512* v, __m512i random_even,
                        __m512i random_odd, Largest& largest) const {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    const __m512i p = _mm512_loadu_si512(param), g = _mm512_loadu_si512(grad);
    const __m512i even =
        one_of_pair(_mm512_slli_epi32(p, 16), _mm512_slli_epi32(g, 16), m[0], v[0], random_even, largest);
    const __m512i odd =
        one_of_pair(_mm512_and_si512(p, upper), _mm512_and_si512(g, upper), m[1], v[1], random_odd, largest);
    _mm512_storeu_si512(param, _mm512_mask_blend_epi16(0x55555555, odd, _mm512_srli_epi32(even, 16)));
  }

  // The bits of the new parameters, rounded where their upper halves are taken. Products and sums stay apart:
  // fused ones would make bits depend on the instruction set.
  HWY_INLINE __m512i one_of_pair(__m512i param, __m512i grad, __m512& m, __m512& v, __m512i random,
                                 Largest& largest) const {
    const auto times = [](float a, __m512 b) HWY_ATTR { return _mm512_mul_ps(_mm512_set1_ps(a), b); };
    const __m512 g = times(f_.grad_scale, _mm512_castsi512_ps(grad));
    v = _mm512_add_ps(times(f_.beta2, v), times(f_.one_minus_beta2, _mm512_mul_ps(g, g)));
    m = _mm512_add_ps(times(f_.beta1, m), times(f_.one_minus_beta1, g));
    largest.momentum = _mm512_max_ps(largest.momentum, _mm512_abs_ps(m));
    largest.variance = _mm512_max_ps(largest.variance, v);
    const __m512 denominator = _mm512_add_ps(_mm512_sqrt_ps(v), _mm512_set1_ps(f_.epsilon));
    const __m512 moved =
        _mm512_sub_ps(_mm512_castsi512_ps(param), times(f_.step_size, _mm512_div_ps(m, denominator)));
    const __m512 value = times(f_.decay, moved);
    const __m512i bits = _mm512_castps_si512(value);
    return _mm512_mask_or_epi32(_mm512_add_epi32(bits, random),
                                _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q), bits,
                                _mm512_set1_epi32(0x400000));
  }

  template <bool kSigned>
  static void encode_paired(const float* x, float absmax, uint8_t* codes) {
    if (HWY_LIKELY(absmax > 1e-30f)) {
      encode_block<kSigned, InPairs>(x, absmax, codes);
      return;
    }
    float in_row[kStateBlock];
    for (int i = 0; i < static_cast<int>(kStateBlock); ++i) {
      in_row[i / 64 * 64 + InPairs::element(i / 16 % 4, i % 16)] = x[i];
    }
    cpu::HWY_NAMESPACE::encode<kSigned>(in_row, kStateBlock, absmax, codes);
  }

  const StepFactors f_;
  const PhiloxKeys keys_;
  const ParamGroup& group_;
  const AdamWState& state_;
};

// Steps those whole blocks of [begin, end) that it can; returns the first one left.
inline int64_t step_whole_blocks(const StepFactors& f, const ParamGroup& group, const AdamWState& state,
                                 int64_t begin, int64_t end) {
  end = std::min(end, group.param.elements() / kStateBlock);
  const bool fits = group.param.type == DType::bf16 && state.momentum.type == DType::u8 &&
                    state.master.data == nullptr && f.form == AdamWForm::bitsandbytes;
  if (!fits || begin >= end) return begin;
  const PairedBlocks blocks(f, group, state);
  RandomWords random[2];
  NewMoments moments[2];
  blocks.draw(begin, random[begin % 2]);
  for (int64_t block = begin; block < end; ++block) {
    blocks.update(block, random[block % 2], random[(block + 1) % 2], moments[block % 2]);
    if (block > begin) blocks.encode(block - 1, moments[(block - 1) % 2]);
  }
  blocks.encode(end - 1, moments[(end - 1) % 2]);
  return end;
}
#else
inline int64_t step_whole_blocks(const StepFactors&, const ParamGroup&, const AdamWState&, int64_t begin,
                                 int64_t) {
  return begin;
}
#endif  // HWY_AVX3_DL

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // GORGON_OPTIM_ADAMW_VBMI_INL_H_
