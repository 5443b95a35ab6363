// Codes of 8-bit optimizer states to f32 and back where a register's bytes are looked up in another two
// (AVX-512 with VBMI): 64 codes at a time.
#if defined(GORGON_OPTIM_STATE_CODES_VBMI_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GORGON_OPTIM_STATE_CODES_VBMI_INL_H_
#undef GORGON_OPTIM_STATE_CODES_VBMI_INL_H_
#else
#define GORGON_OPTIM_STATE_CODES_VBMI_INL_H_
#endif

#include <algorithm>
#include <array>
#include <bit>

#include <hwy/highway.h>

#include "optim/adamw.h"
#include "optim/adamw_block.h"
#include "optim/state_codes_base-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3_DL
// The four bytes of 256 values, each in four registers.
struct BytePlanes {
  alignas(64) uint8_t bytes[4][256];
  explicit BytePlanes(const std::array<float, 256>& values) {
    for (size_t c = 0; c < 256; ++c) {
      const auto bits = std::bit_cast<uint32_t>(values[c]);
      for (size_t plane = 0; plane < 4; ++plane) bytes[plane][c] = static_cast<uint8_t>(bits >> 8 * plane);
    }
  }

  // The bits of 64 of the first kValues values, numbers of which come in interleaved order.
  template <int kValues>
  HWY_INLINE void look_up(__m512i which, __m512i (&values)[4]) const {
    const __mmask64 upper = kValues > 128 ? _mm512_movepi8_mask(which) : 0;
    const auto byte = [&](int plane) HWY_ATTR {
      const uint8_t* table = bytes[plane];
      const __m512i low =
          _mm512_permutex2var_epi8(_mm512_load_si512(table), which, _mm512_load_si512(table + 64));
      if (kValues <= 128) return low;
      const __m512i high =
          _mm512_permutex2var_epi8(_mm512_load_si512(table + 128), which, _mm512_load_si512(table + 192));
      return _mm512_mask_mov_epi8(low, upper, high);
    };
    const __m512i byte0 = byte(0), byte1 = byte(1), byte2 = byte(2), byte3 = byte(3);
    const __m512i low0 = _mm512_unpacklo_epi8(byte0, byte1), low1 = _mm512_unpackhi_epi8(byte0, byte1);
    const __m512i high0 = _mm512_unpacklo_epi8(byte2, byte3), high1 = _mm512_unpackhi_epi8(byte2, byte3);
    values[0] = _mm512_unpacklo_epi16(low0, high0);
    values[1] = _mm512_unpackhi_epi16(low0, high0);
    values[2] = _mm512_unpacklo_epi16(low1, high1);
    values[3] = _mm512_unpackhi_epi16(low1, high1);
  }
};

template <bool kSigned>
void decode_block(const uint8_t* codes, float absmax, float* to) {
  static const BytePlanes planes((kSigned ? signed_code_map() : unsigned_code_map()).values);
  const __m512 scale = _mm512_set1_ps(absmax);
  for (int64_t i = 0; i < kStateBlock; i += 64) {
    __m512i bits[4];
    planes.look_up<256>(_mm512_permutexvar_epi32(interleaved_order(), _mm512_loadu_si512(codes + i)), bits);
    for (int part = 0; part < 4; ++part)
      _mm512_store_ps(to + i + 16 * part, _mm512_mul_ps(_mm512_castsi512_ps(bits[part]), scale));
  }
}
// settle() of 64 values; `which` in interleaved order.
template <bool kSigned>
HWY_NOINLINE void settle_interleaved(uint64_t which, const float* x, float absmax, uint8_t* codes) {
  for (; which != 0; which &= which - 1) {
    const int at = std::countr_zero(which), i = 16 * (at / 4 % 4) + 4 * (at / 16) + at % 4;
    codes[i] = settled<kSigned>(x[i], absmax, codes[i]);
  }
}

// 64 numbers below 256, kept as bytes `at` of 32-bit lanes, in interleaved order: lane by lane of four
// vectors.
HWY_INLINE __m512i pack_bytes(const __m512i (&v)[4], __m512i order) {
  const __m512i low = _mm512_permutex2var_epi8(v[0], order, v[1]);
  const __m512i high = _mm512_permutex2var_epi8(v[2], order, v[3]);
  return _mm512_mask_mov_epi32(low, 0xcccc, high);
}
HWY_INLINE __m512i byte_order(int at) {
  alignas(64) uint8_t order[64];
  for (int i = 0; i < 64; ++i) {
    const int lane = i / 16, vector = i / 4 % 2, element = i % 4;
    order[i] = static_cast<uint8_t>(64 * vector + 4 * (4 * lane + element) + at);
  }
  return _mm512_load_si512(order);
}

// Ranks without a search: a line for each of the decades of RankFormula gives a rank that is right or one too
// small, and the threshold behind that rank, looked up byte by byte, says which.
//
// The segment comes from the upper 16 bits of x, the decade is left where both its last threshold's rank and
// the next line's first are within those bounds. Positions are 2^15 + rank: their second byte is the rank,
// rounded down; kBehind covers their rounding to 1/256.
template <bool kSigned>
struct RankGuess {
  static constexpr int kFirst = kSigned ? 13068 : 12958, kSlope = kSigned ? 166 : 160;
  static constexpr float kBias = 32768.0f, kBehind = 3.0f / 256;
  __m512 slope, offset, most;

  RankGuess() {
    const RankFormula& f = kSigned ? momentum_ranks() : variance_ranks();
    const auto biased = [](const std::array<float, 16>& table, float more) HWY_ATTR {
      return _mm512_add_ps(_mm512_load_ps(table.data()), _mm512_set1_ps(kBias + more));
    };
    constexpr __mmask16 kZero = 0x0001;  // the segment around 0
    slope = _mm512_mask_mov_ps(_mm512_load_ps(f.slope.data()), kZero, _mm512_setzero_ps());
    offset = _mm512_mask_mov_ps(biased(f.offset, -kBehind), kZero, _mm512_set1_ps(kBias));
    most = _mm512_mask_mov_ps(biased(f.high, -0.5f), kZero, _mm512_set1_ps(kBias));
  }

  // 2^15 + the rank of x in [0, 1], or up to 1 less.
  HWY_INLINE __m512i operator()(__m512 x) const {
    const __m512i upper = _mm512_srli_epi32(_mm512_castps_si512(x), 16);
    const __m512i segment =
        _mm512_mulhi_epu16(_mm512_subs_epu16(upper, _mm512_set1_epi32(kFirst)), _mm512_set1_epi32(kSlope));
    const __m512 position =
        _mm512_fmadd_ps(x, _mm512_permutexvar_ps(segment, slope), _mm512_permutexvar_ps(segment, offset));
    return _mm512_castps_si512(_mm512_min_ps(position, _mm512_permutexvar_ps(segment, most)));
  }
};

// thresholds[r]: of the quotient from which the rank is r + 1.
template <bool kSigned>
const BytePlanes& threshold_planes() {
  static const BytePlanes planes([] {
    const CodeMap& map = kSigned ? signed_code_map() : unsigned_code_map();
    std::array<float, 256> above{};
    std::copy(map.thresholds.begin() + map.zero, map.thresholds.end(), above.begin());
    return above;
  }());
  return planes;
}

// Codes of a whole block, for absmax > 1e-30.
template <bool kSigned>
void encode_block(const float* x, float absmax, uint8_t* codes) {
  const RankGuess<kSigned> guess;
  const BytePlanes& planes = threshold_planes<kSigned>();
  const __m512i ranks_at = byte_order(1), signs_at = byte_order(3);
  const __m512 inverse = _mm512_set1_ps(1.0f / absmax);
  for (int64_t i = 0; i < kStateBlock; i += 64) {
    __m512i value[4], quotient[4], position[4], threshold[4];
    for (int part = 0; part < 4; ++part) {
      value[part] = _mm512_load_si512(x + i + 16 * part);
      const __m512 product = _mm512_mul_ps(_mm512_castsi512_ps(value[part]), inverse);
      const __m512 magnitude = kSigned ? _mm512_abs_ps(product) : product;
      quotient[part] = _mm512_castps_si512(magnitude);
      position[part] = guess(magnitude);
    }
    const __m512i low = pack_bytes(position, ranks_at);
    planes.look_up<kSigned ? 128 : 256>(low, threshold);
    // Bits of positive numbers are in their order. Saturated, differences keep their signs and small ones
    // their values.
    for (int part = 0; part < 4; ++part) threshold[part] = _mm512_sub_epi32(quotient[part], threshold[part]);
    const __m512i difference = _mm512_packs_epi16(_mm512_packs_epi32(threshold[0], threshold[1]),
                                                  _mm512_packs_epi32(threshold[2], threshold[3]));
    const __mmask64 below = _mm512_movepi8_mask(difference);
    const __m512i one = _mm512_set1_epi8(1);
    __m512i code = _mm512_mask_add_epi8(low, _knot_mask64(below), low, one);
    if (kSigned) {  // no value is -1, and nothing negative becomes 0. (No moment is -0: sums that cancel are
                    // +0.)
      const __mmask64 negative = _mm512_movepi8_mask(pack_bytes(value, signs_at));
      const __m512i middle = _mm512_set1_epi8(127);
      const __m512i least = _mm512_mask_max_epu8(code, negative, code, one);
      code = _mm512_mask_subs_epu8(_mm512_add_epi8(least, middle), negative, middle, least);
    }
    _mm512_storeu_si512(codes + i, _mm512_permutexvar_epi32(interleaved_order(), code));
    // Both roundings of a product with the inverse put it at most two units in the last place off the
    // quotient.
    const __mmask64 near_threshold =
        _mm512_cmple_epu8_mask(_mm512_add_epi8(difference, _mm512_set1_epi8(2)), _mm512_set1_epi8(4));
    if (HWY_UNLIKELY(near_threshold != 0))
      settle_interleaved<kSigned>(near_threshold, x + i, absmax, codes + i);
  }
}
#endif  // HWY_AVX3_DL

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // GORGON_OPTIM_STATE_CODES_VBMI_INL_H_
