// Codes of 8-bit optimizer states to f32 and back, a block of kStateBlock at a time, for every instruction
// set of Highway: all give the same bits. Include it where foreach_target.h compiles a file again and again:
// the guard toggles with the target.
#if defined(GORGON_OPTIM_STATE_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GORGON_OPTIM_STATE_CODES_INL_H_
#undef GORGON_OPTIM_STATE_CODES_INL_H_
#else
#define GORGON_OPTIM_STATE_CODES_INL_H_
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include <hwy/highway.h>

#include "optim/adamw.h"
#include "optim/adamw_block.h"
#include "optim/state_codes_base-inl.h"
#include "optim/state_codes_vbmi-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3_DL  // state_codes_vbmi-inl.h
#elif HWY_TARGET <= HWY_AVX3   // two registers hold 32 values of the map
// values[codes] for 256 codes: eight lookups in 32 values each, the upper bits choose among them.
template <bool kSigned>
void decode_block(const uint8_t* codes, float absmax, float* to) {
  const float* values = (kSigned ? signed_code_map() : unsigned_code_map()).values.data();
  const auto scale = hn::Set(F32(), absmax);
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
template <bool kSigned>
void decode_block(const uint8_t* codes, float absmax, float* to) {
  const float* values = (kSigned ? signed_code_map() : unsigned_code_map()).values.data();
  const auto scale = hn::Set(F32(), absmax);
  const F32 d;
  for (int64_t i = 0; i < kStateBlock; ++i) to[i] = values[codes[i]];
  for (int64_t i = 0; i < kStateBlock; i += lanes())
    hn::Store(hn::Mul(hn::Load(d, to + i), scale), d, to + i);
}
#endif

// Codes of n elements, then zeros.
template <bool kSigned>
void fetch_codes(const uint8_t* codes, int64_t n, float absmax, float* to) {
  if (n == kStateBlock) {
    decode_block<kSigned>(codes, absmax, to);
    return;
  }
  uint8_t padded[kStateBlock];
  const uint8_t zero = (kSigned ? signed_code_map() : unsigned_code_map()).zero;
  std::fill(std::copy(codes, codes + n, padded), padded + kStateBlock, zero);
  decode_block<kSigned>(padded, absmax, to);
}

#if HWY_TARGET == HWY_AVX3_DL  // state_codes_vbmi-inl.h
#elif HWY_TARGET <= HWY_AVX3
// RankFormula in registers, its positions as whole numbers of 1/4096, half a band too high: the bits below a
// rank are all small where the position is near it.
struct RankRegisters {
  static constexpr int kShift = 12, kHalfBand = 2;
  static_assert(kHalfBand - 0.5f > RankFormula::kBand * (1 << kShift));

  __m512 slope, offset, segment_slope, segment_offset;
  __m512i high, top_rank, top_begin, top_end;

  explicit RankRegisters(const RankFormula& f)
      : slope(scaled(f.slope, 0)),
        offset(scaled(f.offset, kHalfBand)),
        segment_slope(_mm512_set1_ps(f.segment_slope)),
        segment_offset(_mm512_set1_ps(f.segment_offset)),
        high(_mm512_cvtps_epi32(_mm512_load_ps(f.high.data()))),
        top_rank(_mm512_set1_epi32(static_cast<int>(f.top_rank))),
        top_begin(_mm512_set1_epi32(static_cast<int>(f.top * (1 << kShift)))),
        top_end(_mm512_set1_epi32(static_cast<int>(f.top * (1 << kShift)) + 2 * kHalfBand)) {}

  static __m512 scaled(const std::array<float, 16>& table, int more) {
    const __m512 whole = _mm512_mul_ps(_mm512_load_ps(table.data()), _mm512_set1_ps(1 << kShift));
    return _mm512_add_ps(whole, _mm512_set1_ps(static_cast<float>(more)));
  }

  // Ranks of x in [0, 1]; `unsure` where only a search can tell.
  HWY_INLINE __m512i rank_of(__m512 x, __mmask16& unsure) const {
    const __m512 bits = _mm512_cvtepi32_ps(_mm512_castps_si512(x));
    const __m512 log =
        _mm512_max_ps(_mm512_fmadd_ps(bits, segment_slope, segment_offset), _mm512_setzero_ps());
    const __m512i segment = _mm512_castps_si512(_mm512_add_ps(log, _mm512_set1_ps(kToBits)));  // to 8 at most
    const __m512i position = _mm512_cvtps_epi32(
        _mm512_fmadd_ps(x, _mm512_permutexvar_ps(segment, slope), _mm512_permutexvar_ps(segment, offset)));
    const __mmask16 near_rank =
        _mm512_testn_epi32_mask(position, _mm512_set1_epi32((1 << kShift) - 2 * kHalfBand));
    const __mmask16 from_top = _mm512_cmpge_epi32_mask(position, top_begin);
    const __mmask16 is_top = _mm512_cmpgt_epi32_mask(position, top_end);
    unsure = static_cast<__mmask16>(near_rank | (from_top & ~is_top));
    const __m512i highest = _mm512_permutexvar_epi32(segment, high);
    const __m512i floor = _mm512_srli_epi32(position, kShift);
    const __mmask16 beyond = _mm512_cmpge_epi32_mask(floor, highest);
    const __m512i rank =
        _mm512_min_epi32(_mm512_mask_sub_epi32(floor, beyond, floor, _mm512_set1_epi32(1)), highest);
    return _mm512_mask_mov_epi32(rank, is_top, top_rank);
  }
};

// Between 64 bytes in order and four vectors of 16 numbers that are packed or unpacked lane by lane.
HWY_INLINE __m512i interleaved_order() {
  return _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

// Codes of a whole block, for absmax > 1e-30.
template <bool kSigned>
void encode_block(const float* x, float absmax, uint8_t* codes) {
  const RankRegisters ranks(kSigned ? momentum_ranks() : variance_ranks());
  const __m512 inverse = _mm512_set1_ps(1.0f / absmax);
  for (int64_t i = 0; i < kStateBlock; i += 64) {
    __mmask16 unsure[4];
    const auto ranks_of = [&](int64_t part) HWY_ATTR {
      const __m512 value = _mm512_load_ps(x + i + 16 * part);
      const __m512i rank = ranks.rank_of(_mm512_abs_ps(_mm512_mul_ps(value, inverse)), unsure[part]);
      if (!kSigned) return rank;
      // Nothing negative becomes 0. (No moment is -0: sums that cancel are +0.)
      const __mmask16 negative = _mm512_movepi32_mask(_mm512_castps_si512(value));
      const __m512i least = _mm512_mask_max_epi32(rank, negative, rank, _mm512_set1_epi32(1));
      return _mm512_mask_sub_epi32(least, negative, _mm512_setzero_si512(), least);
    };
    __m512i words0 = _mm512_packs_epi32(ranks_of(0), ranks_of(1));
    __m512i words1 = _mm512_packs_epi32(ranks_of(2), ranks_of(3));
    if (kSigned) {
      words0 = _mm512_add_epi16(words0, _mm512_set1_epi16(127));
      words1 = _mm512_add_epi16(words1, _mm512_set1_epi16(127));
    }
    // No value is -1: its -1 becomes 0 here.
    const __m512i packed = _mm512_packus_epi16(words0, words1);
    _mm512_storeu_si512(codes + i, _mm512_permutexvar_epi32(interleaved_order(), packed));
    if (HWY_UNLIKELY((unsure[0] | unsure[1] | unsure[2] | unsure[3]) != 0)) {
      for (int64_t part = 0; part < 4; ++part)
        settle<kSigned>(unsure[part], x + i + 16 * part, absmax, codes + i + 16 * part);
    }
  }
}
#else
HWY_INLINE VF lookup(const std::array<float, 16>& table, hn::Vec<I32> index) {
  const F32 d;
#if HWY_MAX_BYTES >= 32
  return hn::TableLookupLanes(hn::Load(d, table.data()), hn::IndicesFromVec(d, index));
#else
  return hn::GatherIndex(d, table.data(), index);
#endif
}

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
void encode_block(const float* x, float absmax, uint8_t* codes) {
  const F32 d;
  const hn::Rebind<uint8_t, F32> bytes;
  const RankFormula& formula = kSigned ? momentum_ranks() : variance_ranks();
  const auto inverse = hn::Set(d, 1.0f / absmax), middle = hn::Set(d, 127.0f);
  for (int64_t i = 0; i < kStateBlock; i += lanes()) {
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
      settle<kSigned>(bits, x + i, absmax, codes + i);
    }
  }
}
#endif

// x: kStateBlock elements, of which n are coded.
template <bool kSigned>
void encode(const float* x, int64_t n, float absmax, uint8_t* codes) {
  if (absmax == 0.0f) {
    const uint8_t zero = (kSigned ? signed_code_map() : unsigned_code_map()).zero;
    std::memset(codes, zero, static_cast<size_t>(n));
  } else if (absmax <= 1e-30f) {  // 1 / absmax may overflow
    for (int64_t i = 0; i < n; ++i)
      codes[i] = kSigned ? momentum_code(x[i], absmax) : variance_code(x[i], absmax);
  } else if (n == kStateBlock) {
    encode_block<kSigned>(x, absmax, codes);
  } else {
    uint8_t all[kStateBlock];
    encode_block<kSigned>(x, absmax, all);
    std::copy(all, all + n, codes);
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // GORGON_OPTIM_STATE_CODES_INL_H_
