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

#include "kernels/block_panels.h"
#include "kernels/panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::simd::HWY_NAMESPACE {

constexpr int64_t kGroup = 32;  // columns that share a scale: a block of Q4_0, Q4_1 or Q8_0
constexpr int64_t kQuads = kGroup / 4;

using Words = hn::RebindToUnsigned<Full>;
using WordVector = hn::Vec<Words>;
using Quads = std::array<WordVector, kQuads>;  // a byte for each column, four columns a word

// As many rows of a panel as a vector has lanes.
struct PanelPart {
  const std::byte* headers;
  const uint32_t* words;
};

HWY_INLINE PanelPart panel_part(const WeightMatrix& weight, const PanelShape& shape, int64_t row) {
  // Vectors behind the last panel read it once more; nobody reads their sums.
  const int64_t last = (weight.rows - 1) / kPanelRows, panel = std::min(row / kPanelRows, last);
  const std::byte* data = weight.storage->data() + panel * shape.bytes;
  const int64_t lane = row % kPanelRows;
  return {data + lane * shape.header_bytes, reinterpret_cast<const uint32_t*>(data + shape.words_at) + lane};
}

// The f16 in the lower half of each word; finite ones, as loading a model makes sure. A power of two moves
// the exponent to where f32 has it, subnormal numbers included.
HWY_INLINE hn::Vec<Full> low_half(WordVector words) {
  const Words d;
  const Full f;
  const auto magnitude = hn::ShiftLeft<13>(hn::And(words, hn::Set(d, 0x7fffu)));
  const auto sign = hn::ShiftLeft<16>(hn::And(words, hn::Set(d, 0x8000u)));
  return hn::Or(hn::Mul(hn::BitCast(f, magnitude), hn::Set(f, 0x1p112f)), hn::BitCast(f, sign));
}

// The headers of 2 bytes of a group.
HWY_INLINE hn::Vec<Full> half_header(const PanelPart& part, int64_t group) {
  const Words d;
  const hn::Rebind<uint16_t, Words> narrow;
  const auto* headers = reinterpret_cast<const uint16_t*>(part.headers) + group * kPanelRows;
  return low_half(hn::PromoteTo(d, hn::LoadU(narrow, headers)));
}

// Of a block in every lane: y = scale q + min for whole q >= 0. `shift` is what makes q of a type whole and
// not negative: 8 for Q4_0, 128 for Q8_0; min is then -shift scale, exactly.
struct ScaleAndMin {
  hn::Vec<Full> scale, min;
};

// 32 columns of Q4_0 and Q4_1, half a byte each.
template <bool kHasMin>
struct Nibbles {
  static constexpr int64_t kWords = 4, kPairsOfWord = 4;

  static HWY_INLINE ScaleAndMin scale_and_min(const PanelPart& part, int64_t group) {
    const Words d;
    if constexpr (kHasMin) {
      const auto header = hn::LoadU(d, reinterpret_cast<const uint32_t*>(part.headers) + group * kPanelRows);
      return {low_half(header), low_half(hn::ShiftRight<16>(header))};
    }
    const auto scale = half_header(part, group);
    return {scale, hn::Mul(scale, hn::Set(Full(), -8.0f))};
  }

  // Calls put(column, q) for each column that word i has.
  template <class Put>
  static HWY_INLINE void columns(int64_t i, WordVector q, const Put& put) {
    const auto mask = hn::Set(Words(), 15u);
    put(4 * i, hn::And(q, mask));
    put(4 * i + 16, hn::And(hn::ShiftRight<4>(q), mask));
    put(4 * i + 1, hn::And(hn::ShiftRight<8>(q), mask));
    put(4 * i + 17, hn::And(hn::ShiftRight<12>(q), mask));
    put(4 * i + 2, hn::And(hn::ShiftRight<16>(q), mask));
    put(4 * i + 18, hn::And(hn::ShiftRight<20>(q), mask));
    put(4 * i + 3, hn::And(hn::ShiftRight<24>(q), mask));
    put(4 * i + 19, hn::ShiftRight<28>(q));
  }

  // Columns 4 i to 4 i + 3 are the bytes of quad i.
  static HWY_INLINE Quads quads(const uint32_t* words) {
    Quads all;
    const auto mask = hn::Set(Words(), 0x0f0f0f0fu);
    for (size_t i = 0; i < kWords; ++i) {
      const auto q = hn::LoadU(Words(), words + static_cast<int64_t>(i) * kPanelRows);
      all[i] = hn::And(q, mask);
      all[i + kWords] = hn::And(hn::ShiftRight<4>(q), mask);
    }
    return all;
  }

  // Pair j of word q: two columns, as the halves of a word; kColumns has their numbers.
  template <int kPair>
  static HWY_INLINE WordVector pair(WordVector q) {
    const auto mask = hn::Set(Words(), 0x000f000fu);
    if constexpr (kPair == 0) return hn::And(q, mask);
    return hn::And(hn::ShiftRight<4 * kPair>(q), mask);
  }
  static constexpr std::array<uint8_t, kGroup> kColumns = [] {
    std::array<uint8_t, kGroup> columns{};
    for (size_t p = 0; p < 16; ++p) {
      const size_t first = p / 4 * 4 + p % 4 / 2 + p % 2 * 16;
      columns[2 * p] = static_cast<uint8_t>(first);
      columns[2 * p + 1] = static_cast<uint8_t>(first + 2);
    }
    return columns;
  }();
};

// 32 columns of Q8_0, a signed byte each, read as q + 128.
struct Bytes {
  static constexpr int64_t kWords = 8, kPairsOfWord = 2;

  static HWY_INLINE ScaleAndMin scale_and_min(const PanelPart& part, int64_t group) {
    const auto scale = half_header(part, group);
    return {scale, hn::Mul(scale, hn::Set(Full(), -128.0f))};
  }

  template <class Put>
  static HWY_INLINE void columns(int64_t i, WordVector word, const Put& put) {
    const auto mask = hn::Set(Words(), 255u);
    const auto q = hn::Xor(word, hn::Set(Words(), 0x80808080u));
    put(4 * i, hn::And(q, mask));
    put(4 * i + 1, hn::And(hn::ShiftRight<8>(q), mask));
    put(4 * i + 2, hn::And(hn::ShiftRight<16>(q), mask));
    put(4 * i + 3, hn::ShiftRight<24>(q));
  }

  static HWY_INLINE Quads quads(const uint32_t* words) {
    Quads all;
    for (size_t i = 0; i < kWords; ++i) {
      const auto q = hn::LoadU(Words(), words + static_cast<int64_t>(i) * kPanelRows);
      all[i] = hn::Xor(q, hn::Set(Words(), 0x80808080u));
    }
    return all;
  }

  template <int kPair>
  static HWY_INLINE WordVector pair(WordVector word) {
    const auto mask = hn::Set(Words(), 0x00ff00ffu);
    const auto q = hn::Xor(word, hn::Set(Words(), 0x80808080u));
    if constexpr (kPair == 0) return hn::And(q, mask);
    return hn::And(hn::ShiftRight<8>(q), mask);
  }
  static constexpr std::array<uint8_t, kGroup> kColumns = [] {
    std::array<uint8_t, kGroup> columns{};
    for (size_t p = 0; p < 16; ++p) {
      columns[2 * p] = static_cast<uint8_t>(p / 2 * 4 + p % 2);
      columns[2 * p + 1] = static_cast<uint8_t>(columns[2 * p] + 2);
    }
    return columns;
  }();
};

// Groups [begin, end) of two parts as f32[columns][rows of both]. Multiplied and added in two roundings, as
// dequantise() does; products of the types without a minimum are exact, so that it changes nothing.
template <class Block>
void f32_panel(const std::array<PanelPart, 2>& parts, int64_t begin, int64_t end, float* to) {
  const Full d;
  const hn::RebindToSigned<Full> whole;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t g = begin; g < end; ++g, to += kGroup * 2 * lanes) {
    for (int64_t half = 0; half < 2; ++half) {
      const PanelPart& part = parts[static_cast<size_t>(half)];
      const ScaleAndMin by = Block::scale_and_min(part, g);
      for (int64_t i = 0; i < Block::kWords; ++i) {
        const auto word = hn::LoadU(Words(), part.words + (g * Block::kWords + i) * kPanelRows);
        Block::columns(i, word, [&](int64_t column, auto q) HWY_ATTR {
          const auto value = hn::ConvertTo(d, hn::BitCast(whole, q));
          hn::Store(hn::Add(hn::Mul(by.scale, value), by.min), d, to + (column * 2 + half) * lanes);
        });
      }
    }
  }
}

}  // namespace gorgon::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
