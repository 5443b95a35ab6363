// Panels of GGUF blocks (block_panels.h) in vectors, for block_linear(). Include it behind
// hwy/foreach_target.h.
#if defined(GORGON_KERNELS_BLOCK_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GORGON_KERNELS_BLOCK_PANELS_INL_H_
#undef GORGON_KERNELS_BLOCK_PANELS_INL_H_
#else
#define GORGON_KERNELS_BLOCK_PANELS_INL_H_
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <hwy/cache_control.h>

#include "kernels/block_panels.h"
#include "kernels/panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::simd::HWY_NAMESPACE {

using Words = hn::RebindToUnsigned<Full>;
using WordVector = hn::Vec<Words>;

// As many rows of a panel as a vector has lanes.
struct PanelPart {
  const std::byte* headers;
  const float* factors;
  const uint32_t* words;
};

HWY_INLINE PanelPart panel_part(const WeightMatrix& weight, const PanelShape& shape, int64_t row) {
  // Vectors behind the last panel read it once more; nobody reads their sums.
  const int64_t last = (weight.rows - 1) / kPanelRows, panel = std::min(row / kPanelRows, last);
  const std::byte* data = weight.storage->data() + panel * shape.bytes;
  const int64_t lane = row % kPanelRows;
  return {data + lane * shape.header_bytes, reinterpret_cast<const float*>(data + shape.factors_at) + lane,
          reinterpret_cast<const uint32_t*>(data + shape.words_at) + lane};
}

// --- q: quad i of a group has its columns 4 i to 4 i + 3 as the bytes of a word.

HWY_INLINE WordVector word_at(const uint32_t* words, int64_t i) {
  return hn::LoadU(Words(), words + i * kPanelRows);
}

// The bits of `mask`, from a word moved to the left (or, below zero, to the right).
template <int kLeft>
HWY_INLINE WordVector moved_bits(WordVector word, uint32_t mask) {
  const auto bits = hn::Set(Words(), mask);
  if constexpr (kLeft > 0) return hn::And(hn::ShiftLeft<kLeft>(word), bits);
  if constexpr (kLeft < 0) return hn::And(hn::ShiftRight<-kLeft>(word), bits);
  return hn::And(word, bits);
}

struct FourBits {
  static constexpr int64_t kWords = 4;
  template <int kQuad>
  static HWY_INLINE WordVector quad(const uint32_t* words) {
    return moved_bits<kQuad / 4 * -4>(word_at(words, kQuad % 4), 0x0f0f0f0fu);
  }
};

struct FiveBits {
  static constexpr int64_t kWords = 5;
  template <int kQuad>
  static HWY_INLINE WordVector quad(const uint32_t* words) {
    return hn::Or(FourBits::quad<kQuad>(words), moved_bits<4 - kQuad>(word_at(words, 4), 0x10101010u));
  }
};

struct SixBits {
  static constexpr int64_t kWords = 6;
  template <int kQuad>
  static HWY_INLINE WordVector quad(const uint32_t* words) {
    const auto high = word_at(words, 4 + kQuad / 4);
    return hn::Or(FourBits::quad<kQuad>(words), moved_bits<4 - kQuad % 4 * 2>(high, 0x30303030u));
  }
};

struct EightBits {
  static constexpr int64_t kWords = 8;
  template <int kQuad>
  static HWY_INLINE WordVector quad(const uint32_t* words) {
    return word_at(words, kQuad);
  }
};

// --- scale and min of as many columns as share them, of a group in every lane

struct ScaleAndMin {
  hn::Vec<Full> scale, min;
};

// The f16 in the lower half of each word; finite ones, as loading a model makes sure. A power of two moves
// the exponent to where f32 has it, subnormal numbers included.
HWY_INLINE hn::Vec<Full> low_half(WordVector words) {
  const Words d;
  const Full f;
  const auto magnitude = hn::ShiftLeft<13>(hn::And(words, hn::Set(d, 0x7fffu)));
  const auto sign = hn::ShiftLeft<16>(hn::And(words, hn::Set(d, 0x8000u)));
  return hn::Or(hn::Mul(hn::BitCast(f, magnitude), hn::Set(f, 0x1p112f)), hn::BitCast(f, sign));
}

HWY_INLINE WordVector wide_headers(const PanelPart& part, int64_t group) {
  return hn::LoadU(Words(), reinterpret_cast<const uint32_t*>(part.headers) + group * kPanelRows);
}
template <typename T>  // uint16_t or int16_t
HWY_INLINE auto narrow_headers(const PanelPart& part, int64_t group) {
  const hn::Rebind<T, Words> narrow;
  using Wide = std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>;
  const auto* headers = reinterpret_cast<const T*>(part.headers) + group * kPanelRows;
  return hn::PromoteTo(hn::Rebind<Wide, Words>(), hn::LoadU(narrow, headers));
}
HWY_INLINE hn::Vec<Full> factor(const PanelPart& part, int64_t i) {
  return hn::LoadU(Full(), part.factors + i * kPanelRows);
}
HWY_INLINE hn::Vec<Full> whole_value(WordVector words) {
  return hn::ConvertTo(Full(), hn::BitCast(hn::RebindToSigned<Words>(), words));
}

// y = d (q - kZero)
template <int kZero>
struct Scaled {
  static constexpr int64_t kScales = 1;
  static HWY_INLINE std::array<ScaleAndMin, 1> read(const PanelPart& part, int64_t group) {
    const auto scale = low_half(narrow_headers<uint16_t>(part, group));
    return {{{scale, hn::Mul(scale, hn::Set(Full(), static_cast<float>(-kZero)))}}};
  }
};

// y = d q + m
struct ScaledWithMin {
  static constexpr int64_t kScales = 1;
  static HWY_INLINE std::array<ScaleAndMin, 1> read(const PanelPart& part, int64_t group) {
    const auto header = wide_headers(part, group);
    return {{{low_half(header), low_half(hn::ShiftRight<16>(header))}}};
  }
};

// y = (d s) q - dmin m
struct TwiceScaledWithMin {
  static constexpr int64_t kScales = 1;
  static HWY_INLINE std::array<ScaleAndMin, 1> read(const PanelPart& part, int64_t group) {
    const auto header = narrow_headers<uint16_t>(part, group);
    const auto scale = whole_value(hn::And(header, hn::Set(Words(), 255u)));
    const auto min = whole_value(hn::ShiftRight<8>(header));
    const int64_t block = group / 8 * 2;
    return {{{hn::Mul(factor(part, block), scale), hn::Neg(hn::Mul(factor(part, block + 1), min))}}};
  }
};

// y = (d s) (q - kZero), s for 16 columns
template <int kZero>
struct TwiceScaledByHalves {
  static constexpr int64_t kScales = 2;
  static HWY_INLINE std::array<ScaleAndMin, 2> read(const PanelPart& part, int64_t group) {
    const Full d;
    const auto header = narrow_headers<int16_t>(part, group);
    const auto by = factor(part, group / 8);
    const auto first = hn::Mul(by, hn::ConvertTo(d, hn::ShiftRight<24>(hn::ShiftLeft<24>(header))));
    const auto second = hn::Mul(by, hn::ConvertTo(d, hn::ShiftRight<8>(header)));
    const auto zero = hn::Set(d, static_cast<float>(-kZero));
    return {{{first, hn::Mul(first, zero)}, {second, hn::Mul(second, zero)}}};
  }
};

template <class Quants, class Scales>
struct Block : Quants, Scales {};

using Q4_0 = Block<FourBits, Scaled<8>>;
using Q4_1 = Block<FourBits, ScaledWithMin>;
using Q5_0 = Block<FiveBits, Scaled<16>>;
using Q5_1 = Block<FiveBits, ScaledWithMin>;
using Q8_0 = Block<EightBits, Scaled<128>>;
using Q4_K = Block<FourBits, TwiceScaledWithMin>;
using Q5_K = Block<FiveBits, TwiceScaledWithMin>;
using Q6_K = Block<SixBits, TwiceScaledByHalves<32>>;

// Asks for words of a group some time before they are needed.
template <class Block>
HWY_INLINE void fetch_ahead(const uint32_t* words) {
  constexpr int64_t kAhead = 2048;
  for (int64_t i = 0; i < Block::kWords; ++i) hwy::Prefetch(words + i * kPanelRows + kAhead);
}

// Columns of a quad as f32, `step` values apart. Multiplied and added in two roundings, as dequantise() does;
// products of the types without a minimum are exact, so that it changes nothing.
template <class Block, int kQuad>
HWY_INLINE void f32_quad(const uint32_t* words, const std::array<ScaleAndMin, Block::kScales>& scales,
                         int64_t step, float* to) {
  const Full d;
  const auto mask = hn::Set(Words(), 255u);
  const auto quad = Block::template quad<kQuad>(words);
  const ScaleAndMin& by = scales[kQuad * Block::kScales / 8];
  const auto put = [&](int64_t column, WordVector q) HWY_ATTR {
    hn::Store(hn::Add(hn::Mul(by.scale, whole_value(q)), by.min), d, to + (4 * kQuad + column) * step);
  };
  put(0, hn::And(quad, mask));
  put(1, hn::And(hn::ShiftRight<8>(quad), mask));
  put(2, hn::And(hn::ShiftRight<16>(quad), mask));
  put(3, hn::ShiftRight<24>(quad));
}

// Groups [begin, end) of two parts as f32[columns][rows of both].
template <class Block>
void f32_panel(const std::array<PanelPart, 2>& parts, int64_t begin, int64_t end, float* to) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Full())), step = 2 * lanes;
  for (int64_t g = begin; g < end; ++g, to += kGroup * step) {
    for (int64_t half = 0; half < 2; ++half) {
      const PanelPart& part = parts[static_cast<size_t>(half)];
      const uint32_t* words = part.words + g * Block::kWords * kPanelRows;
      fetch_ahead<Block>(words);
      const auto scales = Block::read(part, g);
      float* out = to + half * lanes;
      f32_quad<Block, 0>(words, scales, step, out);
      f32_quad<Block, 1>(words, scales, step, out);
      f32_quad<Block, 2>(words, scales, step, out);
      f32_quad<Block, 3>(words, scales, step, out);
      f32_quad<Block, 4>(words, scales, step, out);
      f32_quad<Block, 5>(words, scales, step, out);
      f32_quad<Block, 6>(words, scales, step, out);
      f32_quad<Block, 7>(words, scales, step, out);
    }
  }
}

}  // namespace gorgon::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
