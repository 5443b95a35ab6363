// Rows of x in the order in which block_linear() reads them. Include it behind hwy/foreach_target.h.
#if defined(GORGON_KERNELS_PACKED_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GORGON_KERNELS_PACKED_ROWS_INL_H_
#undef GORGON_KERNELS_PACKED_ROWS_INL_H_
#else
#define GORGON_KERNELS_PACKED_ROWS_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/block_panels-inl.h"
#include "kernels/packed_rows.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

using namespace simd::HWY_NAMESPACE;

// Chips that multiply bytes by bytes; foreach_target.h's list is in order of what a chip can do.
constexpr bool kHasVnni = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL;

// The upper bytes of 32 numbers of 15 bits, then the lower ones: q = 256 * upper + lower, lower >= -128.
HWY_INLINE void pack_quads([[maybe_unused]] const int32_t* q, [[maybe_unused]] uint32_t* quads) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL
  for (int64_t i = 0; i < 2; ++i) {
    const __m512i all = _mm512_loadu_si512(q + i * 16);
    const __m512i upper = _mm512_srai_epi32(_mm512_add_epi32(all, _mm512_set1_epi32(128)), 8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(quads + i * 4), _mm512_cvtepi32_epi8(upper));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(quads + 8 + i * 4), _mm512_cvtepi32_epi8(all));
  }
#endif
}

// q of 32 values, to nearest (ties to even), and the numbers that go with them. 16 bits less two: 32 products
// with 8 bits stay inside 32.
constexpr float kMostQ = 16383;

struct GroupNumbers {
  float scale;
  std::array<int32_t, 2> sums;  // of q, of 16 columns each
};

template <typename T>
HWY_INLINE GroupNumbers quantise_group(const T* x, int32_t* q) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<decltype(d)> whole;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto most = hn::Zero(d);
  for (int64_t i = 0; i < kGroup; i += lanes) most = hn::Max(most, hn::Abs(load(d, x + i)));
  const float largest = hn::GetLane(hn::MaxOfLanes(d, most));
  if (!(largest > 0)) {  // zeros
    std::fill_n(q, kGroup, 0);
    return {0, {}};
  }
  const auto inverse = hn::Set(d, kMostQ / largest);
  GroupNumbers numbers{largest / kMostQ, {}};
  for (int64_t half = 0; half < 2; ++half) {
    auto sums = hn::Zero(whole);
    for (int64_t i = half * 16; i < (half + 1) * 16; i += lanes) {
      const auto value = hn::NearestInt(hn::Mul(load(d, x + i), inverse));
      sums = hn::Add(sums, value);
      hn::StoreU(value, whole, q + i);
    }
    numbers.sums[static_cast<size_t>(half)] = hn::GetLane(hn::SumOfLanes(whole, sums));
  }
  return numbers;
}

// The words of one row of a group, `rows` apart: quads of the upper and lower bytes, or pairs of columns as
// bytes of a quad (block_panels-inl.h) become when they move apart: 0 and 2, then 1 and 3.
HWY_INLINE void write_words(const int32_t* q, int64_t rows, uint32_t* words) {
  if constexpr (kHasVnni) {
    std::array<uint32_t, 16> quads;
    pack_quads(q, quads.data());
    for (size_t i = 0; i < quads.size(); ++i) words[static_cast<int64_t>(i) * rows] = quads[i];
    return;
  }
  for (int64_t p = 0; p < 16; ++p) {
    const int32_t* pair = q + p / 2 * 4 + p % 2;
    words[p * rows] = (static_cast<uint32_t>(pair[0]) & 0xffffu) | static_cast<uint32_t>(pair[2]) << 16;
  }
}

template <typename T>
void pack_integers(ConstView x, int64_t scales, int64_t row, int64_t rows, const PackedRowsOut& to) {
  const int64_t groups = x.columns() / kGroup;
  for (int64_t i = 0; i < rows; ++i) {
    const T* from = x.as<T>() + (row + i) * x.stride();
    for (int64_t g = 0; g < groups; ++g) {
      HWY_ALIGN int32_t q[kGroup];
      const auto [scale, halves] = quantise_group(from + g * kGroup, q);
      to.scales[g * rows + i] = scale;
      float* sums = to.sums + g * scales * rows + i;
      sums[0] = scale * static_cast<float>(scales == 1 ? halves[0] + halves[1] : halves[0]);
      if (scales == 2) sums[rows] = scale * static_cast<float>(halves[1]);
      write_words(q, rows, to.words + g * 16 * rows + i);
    }
  }
}

// One strip: rows [row, row + rows) of x; `scales` of a group of the weight, 0 for x as f32.
template <typename T>
void pack_strip_of(ConstView x, int64_t scales, int64_t row, int64_t rows, const PackedRowsOut& to) {
  if (scales == 0) {
    pack_transposed(x.as<T>() + row * x.stride(), x.stride(), rows, x.columns(), rows, to.values);
  } else {
    pack_integers<T>(x, scales, row, rows, to);
  }
}

void pack_strip(ConstView x, int64_t scales, int64_t row, int64_t rows, const PackedRowsOut& to) {
  if (x.type == DType::f32) {
    pack_strip_of<float>(x, scales, row, rows, to);
  } else {
    pack_strip_of<bf16>(x, scales, row, rows, to);
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
