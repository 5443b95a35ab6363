// Codes of 8-bit optimizer states to f32 and back where a register's bytes are looked up in another two
// (AVX-512 with VBMI): 64 codes at a time.
#if defined(GORGON_OPTIM_STATE_CODES_VBMI_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GORGON_OPTIM_STATE_CODES_VBMI_INL_H_
#undef GORGON_OPTIM_STATE_CODES_VBMI_INL_H_
#else
#define GORGON_OPTIM_STATE_CODES_VBMI_INL_H_
#endif

#include <array>
#include <bit>

#include <hwy/highway.h>

#include "optim/adamw.h"
#include "optim/rank_lines.h"
#include "optim/state_codes_base-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3_DL
// Which of 64 elements a lane of four vectors has: one after the other; or, of 32 elements, the even ones in
// one vector and the odd ones in the next, as the halves of 32-bit lanes of bf16 are.
struct InRow {
  static constexpr int element(int vector, int lane) { return 16 * vector + lane; }
};
struct InPairs {
  static constexpr int element(int vector, int lane) { return 32 * (vector / 2) + 2 * lane + vector % 2; }
};

struct alignas(64) Bytes {
  std::array<uint8_t, 64> byte;
  HWY_INLINE __m512i load() const { return _mm512_load_si512(byte.data()); }
};

// Byte planes of codes in this order interleave to the four vectors.
template <class Order>
constexpr Bytes interleaving() {
  Bytes bytes{};
  for (int vector = 0; vector < 4; ++vector) {
    for (int lane = 0; lane < 16; ++lane) {
      const auto at = static_cast<size_t>(16 * (lane / 4) + 4 * vector + lane % 4);
      bytes.byte[at] = static_cast<uint8_t>(Order::element(vector, lane));
    }
  }
  return bytes;
}

// Bytes `at` of the lanes of two vectors, in the order of elements, twice.
template <class Order>
constexpr Bytes gathering(int at) {
  Bytes bytes{};
  for (int vector = 0; vector < 2; ++vector) {
    for (int lane = 0; lane < 16; ++lane) {
      const auto element = static_cast<size_t>(Order::element(vector, lane));
      bytes.byte[element] = bytes.byte[element + 32] = static_cast<uint8_t>(64 * vector + 4 * lane + at);
    }
  }
  return bytes;
}
HWY_INLINE __m512i gather_bytes(__m512i v0, __m512i v1, __m512i v2, __m512i v3, __m512i gathering) {
  const __m512i low = _mm512_permutex2var_epi8(v0, gathering, v1);
  const __m512i high = _mm512_permutex2var_epi8(v2, gathering, v3);
  return _mm512_mask_mov_epi64(low, 0xf0, high);
}

// The bytes of the values of a map, each in registers of their own. The signed map is looked up by rank,
// which is below 128 but for that of 1.0: it comes back to 0, whose value no lookup needs.
template <bool kSigned>
struct BytePlanes {
  static constexpr size_t kValues = kSigned ? 128 : 256;
  alignas(64) uint8_t bytes[4][kValues];

  BytePlanes() {
    const CodeMap& map = kSigned ? signed_code_map() : unsigned_code_map();
    for (size_t c = 0; c < kValues; ++c) {
      const float value = kSigned ? (c == 0 ? 1.0f : map.values[map.zero + c]) : map.values[c];
      const auto bits = std::bit_cast<uint32_t>(value);
      for (size_t plane = 0; plane < 4; ++plane) bytes[plane][c] = static_cast<uint8_t>(bits >> 8 * plane);
    }
  }
  HWY_INLINE __m512i half(size_t plane, size_t first) const {
    return _mm512_load_si512(bytes[plane] + first);
  }
};
template <bool kSigned>
const BytePlanes<kSigned>& byte_planes() {
  static const BytePlanes<kSigned> planes;
  return planes;
}

// Decodes 64 codes at a time.
template <bool kSigned, class Order>
class Decoder {
 public:
  explicit Decoder(const BytePlanes<kSigned>& planes) : planes_(planes) {}

  HWY_INLINE void operator()(const uint8_t* codes, __m512 absmax, __m512 (&values)[4]) const {
    static constexpr Bytes kOrder = interleaving<Order>();
    const __m512i code = _mm512_permutexvar_epi8(kOrder.load(), _mm512_loadu_si512(codes));
    __m512i byte[4];
    kSigned ? of_ranks(code, byte) : of_codes(code, byte);
    const __m512i low0 = _mm512_unpacklo_epi8(byte[0], byte[1]),
                  low1 = _mm512_unpackhi_epi8(byte[0], byte[1]);
    const __m512i high0 = _mm512_unpacklo_epi8(byte[2], byte[3]),
                  high1 = _mm512_unpackhi_epi8(byte[2], byte[3]);
    values[0] = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_unpacklo_epi16(low0, high0)), absmax);
    values[1] = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_unpackhi_epi16(low0, high0)), absmax);
    values[2] = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_unpacklo_epi16(low1, high1)), absmax);
    values[3] = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_unpackhi_epi16(low1, high1)), absmax);
  }

 private:
  HWY_INLINE void of_ranks(__m512i code, __m512i (&byte)[4]) const {
    const __m512i middle = _mm512_set1_epi8(127);
    const __m512i difference = _mm512_sub_epi8(code, middle), rank = _mm512_abs_epi8(difference);
    const __mmask64 not_zero = _mm512_test_epi8_mask(difference, difference);
    const __mmask64 negative = _mm512_cmplt_epu8_mask(code, middle);
    for (size_t plane = 0; plane < 4; ++plane) {
      byte[plane] =
          _mm512_maskz_permutex2var_epi8(not_zero, planes_.half(plane, 0), rank, planes_.half(plane, 64));
    }
    byte[3] = _mm512_mask_add_epi8(byte[3], negative, byte[3], _mm512_set1_epi8(-128));
  }
  HWY_INLINE void of_codes(__m512i code, __m512i (&byte)[4]) const {
    const __mmask64 upper = _mm512_movepi8_mask(code);
    for (size_t plane = 0; plane < 4; ++plane) {
      const __m512i low = _mm512_permutex2var_epi8(planes_.half(plane, 0), code, planes_.half(plane, 64));
      const __m512i high = _mm512_permutex2var_epi8(planes_.half(plane, 128), code, planes_.half(plane, 192));
      byte[plane] = _mm512_mask_mov_epi8(low, upper, high);
    }
  }

  const BytePlanes<kSigned>& planes_;
};

template <bool kSigned>
void decode_block(const uint8_t* codes, float absmax, float* to) {
  const Decoder<kSigned, InRow> decoder(byte_planes<kSigned>());
  const __m512 scale = _mm512_set1_ps(absmax);
  for (int64_t i = 0; i < kStateBlock; i += 64) {
    __m512 values[4];
    decoder(codes + i, scale, values);
    for (int part = 0; part < 4; ++part) _mm512_store_ps(to + i + 16 * part, values[part]);
  }
}

// RankLines in registers, for one block.
template <bool kSigned>
struct RankRegisters {
  __m512i segments0, segments1;
  __m512 slope, offset, cut, scale, top;

  explicit RankRegisters(float absmax) {
    const RankLines& lines = kSigned ? momentum_lines() : variance_lines();
    segments0 = _mm512_load_si512(lines.segment.data());
    segments1 = _mm512_load_si512(lines.segment.data() + 64);
    slope = _mm512_load_ps(lines.slope.data());
    offset = _mm512_load_ps(lines.offset.data());
    cut = _mm512_load_ps(lines.cut.data());
    scale = _mm512_set1_ps(lines.scale / absmax);
    top = _mm512_set1_ps(lines.top);
  }

  // Lanes with the rank in their bits 16 to 23 and what is above it in the lower 16.
  HWY_INLINE __m512i operator()(__m512 x) const {
    const __m512 y = _mm512_fmadd_ps(kSigned ? _mm512_abs_ps(x) : x, scale, _mm512_set1_ps(RankLines::kTiny));
    const __m512i quarter = _mm512_srli_epi32(_mm512_castps_si512(y), 21);
    const __m512i segment = _mm512_permutex2var_epi8(segments0, quarter, segments1);
    const __m512 line =
        _mm512_fmadd_ps(y, _mm512_permutexvar_ps(segment, slope), _mm512_permutexvar_ps(segment, offset));
    const __m512 bent =
        _mm512_fmsub_ps(line, _mm512_set1_ps(RankLines::kBend), _mm512_permutexvar_ps(segment, cut));
    const __m512 position = _mm512_min_ps(line, bent);
    if (kSigned) return _mm512_castps_si512(position);
    const __m512 up = _mm512_fmsub_ps(position, _mm512_set1_ps(2.0f), top);
    const __m512i bits = _mm512_castps_si512(_mm512_max_ps(position, up));
    return _mm512_add_epi32(bits, bits);
  }
};
constexpr int kDoubtful = static_cast<int>(2 * RankLines::kBand * 65536);  // of the lower 16 bits

// Searches the codes of those of 64 elements that are in doubt. x lies in Order.
template <bool kSigned, class Order>
HWY_NOINLINE void settle_doubtful(__m512i position0, __m512i position1, __m512i position2, __m512i position3,
                                  const float* x, float absmax, uint8_t* codes) {
  const __m512i positions[4] = {position0, position1, position2, position3};
  for (int vector = 0; vector < 4; ++vector) {
    const __m512i fraction = _mm512_and_si512(positions[vector], _mm512_set1_epi32(0xffff));
    uint32_t which = _mm512_cmplt_epi32_mask(fraction, _mm512_set1_epi32(kDoubtful));
    for (; which != 0; which &= which - 1) {
      const int lane = std::countr_zero(which);
      uint8_t& code = codes[Order::element(vector, lane)];
      code = settled<kSigned>(x[16 * vector + lane], absmax, code);
    }
  }
}

// Codes of a whole block, for absmax > 1e-30. x lies in Order, 64 elements at a time; the codes do not.
template <bool kSigned, class Order = InRow>
void encode_block(const float* x, float absmax, uint8_t* codes) {
  static constexpr Bytes kRanks = gathering<Order>(2), kSigns = gathering<Order>(3);
  const RankRegisters<kSigned> ranks(absmax);
  const __m512i one = _mm512_set1_epi8(1), middle = _mm512_set1_epi8(127);
  for (int64_t i = 0; i < kStateBlock; i += 64) {
    const auto value = [&](int vector) HWY_ATTR { return _mm512_load_ps(x + i + 16 * vector); };
    const auto bits = [&](int vector) HWY_ATTR { return _mm512_load_si512(x + i + 16 * vector); };
    const __m512i position0 = ranks(value(0)), position1 = ranks(value(1)), position2 = ranks(value(2)),
                  position3 = ranks(value(3));
    __m512i code = gather_bytes(position0, position1, position2, position3, kRanks.load());
    if (kSigned) {  // no value is -1, and nothing negative becomes 0. (No moment is -0: sums that cancel are
                    // +0.)
      const __mmask64 negative =
          _mm512_movepi8_mask(gather_bytes(bits(0), bits(1), bits(2), bits(3), kSigns.load()));
      const __m512i least = _mm512_mask_max_epu8(code, negative, code, one);
      code = _mm512_mask_subs_epu8(_mm512_add_epi8(least, middle), negative, middle, least);
    }
    _mm512_storeu_si512(codes + i, code);
    // The upper halves of positions are large.
    const __m512i least_fraction =
        _mm512_min_epu16(_mm512_min_epu16(position0, position1), _mm512_min_epu16(position2, position3));
    if (HWY_UNLIKELY(_mm512_cmplt_epu16_mask(least_fraction, _mm512_set1_epi16(kDoubtful)) != 0)) {
      settle_doubtful<kSigned, Order>(position0, position1, position2, position3, x + i, absmax, codes + i);
    }
  }
}
#endif  // HWY_AVX3_DL

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // GORGON_OPTIM_STATE_CODES_VBMI_INL_H_
