// Panels and the register-blocked micro-kernel behind gemm() and attention(), after Goto and van de Geijn,
// "Anatomy of high-performance matrix multiplication", TOMS 34 (2008). Include it behind
// hwy/foreach_target.h.
#if defined(GORGON_KERNELS_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GORGON_KERNELS_PANELS_INL_H_
#undef GORGON_KERNELS_PANELS_INL_H_
#else
#define GORGON_KERNELS_PANELS_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::simd::HWY_NAMESPACE {

// A micro-tile: kStripRows rows by two vectors. Four rows keep AVX2's 16 registers, eight those of 32.
constexpr int64_t kStripRows = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 8 : 4;
HWY_INLINE int64_t panel_columns() {
  static_assert(HWY_MAX_BYTES <= 64);
  return static_cast<int64_t>(2 * hn::Lanes(Full()));
}

// to[k * width + i] = from[i * stride + k] for four rows i.
template <typename T>
void transpose_four(const T* from, int64_t stride, int64_t depth, int64_t width, float* to) {
  int64_t k = 0;
#if HWY_TARGET != HWY_SCALAR  // which has no vectors of four
  const hn::FixedTag<float, 4> d4;
  const hn::Repartition<double, decltype(d4)> d2;
  for (; k + 4 <= depth; k += 4) {
    const auto r0 = load(d4, from + k), r1 = load(d4, from + stride + k);
    const auto r2 = load(d4, from + 2 * stride + k), r3 = load(d4, from + 3 * stride + k);
    const auto low01 = hn::BitCast(d2, hn::InterleaveLower(d4, r0, r1));
    const auto low23 = hn::BitCast(d2, hn::InterleaveLower(d4, r2, r3));
    const auto high01 = hn::BitCast(d2, hn::InterleaveUpper(d4, r0, r1));
    const auto high23 = hn::BitCast(d2, hn::InterleaveUpper(d4, r2, r3));
    float* out = to + k * width;
    hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, low01, low23)), d4, out);
    hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, low01, low23)), d4, out + width);
    hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, high01, high23)), d4, out + 2 * width);
    hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, high01, high23)), d4, out + 3 * width);
  }
#endif
  for (; k < depth; ++k) {
    for (int64_t i = 0; i < 4; ++i) to[k * width + i] = static_cast<float>(from[i * stride + k]);
  }
}

// to[k * width + i] = from[i * stride + k] for i < rows, zero for rows <= i < width; k < depth.
template <typename T>
void pack_transposed(const T* from, int64_t stride, int64_t rows, int64_t depth, int64_t width, float* to) {
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4) transpose_four(from + i * stride, stride, depth, width, to + i);
  for (; i < width; ++i) {
    for (int64_t k = 0; k < depth; ++k) {
      to[k * width + i] = i < rows ? static_cast<float>(from[i * stride + k]) : 0.0f;
    }
  }
}

// to[k * width + i] = from[k * stride + i], padded as above.
template <typename T>
void pack_straight(const T* from, int64_t stride, int64_t rows, int64_t depth, int64_t width, float* to) {
  const Full full;
  const hn::CappedTag<float, 4> four;
  const auto wide = static_cast<int64_t>(hn::Lanes(full)), narrow = static_cast<int64_t>(hn::Lanes(four));
  for (int64_t k = 0; k < depth; ++k, from += stride, to += width) {
    int64_t i = 0;
    for (; i + wide <= rows; i += wide) hn::StoreU(load(full, from + i), full, to + i);
    for (; i + narrow <= rows; i += narrow) hn::StoreU(load(four, from + i), four, to + i);
    for (; i < width; ++i) to[i] = i < rows ? static_cast<float>(from[i]) : 0.0f;
  }
}

enum class Sums { start, add, go_on };

struct PanelDestination {
  float* data;
  int64_t stride;
  int64_t columns;  // of the panel that exist
  Sums sums;        // a chain from zero, written or added to c; or the chain goes on from c
};

// c[i, j] from a[depth][kCount] and b[depth][panel columns], each element one chain of fused multiply-adds in
// order of k, whatever kCount and the width of a vector. c is a whole panel wide. Loops over i are plain, so
// that the compiler unrolls them and keeps the sums in registers.
template <Sums kSums, int64_t kCount>
void micro_kernel(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t depth, float* c,
                  int64_t stride) {
  const Full d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<Full> left[kCount], right[kCount];
  for (int64_t i = 0; i < kCount; ++i) {
    left[i] = kSums == Sums::go_on ? hn::LoadU(d, c + i * stride) : hn::Zero(d);
    right[i] = kSums == Sums::go_on ? hn::LoadU(d, c + i * stride + lanes) : hn::Zero(d);
  }
  for (int64_t k = 0; k < depth; ++k) {
    const auto b_left = hn::Load(d, b + k * 2 * lanes);
    const auto b_right = hn::Load(d, b + k * 2 * lanes + lanes);
    for (int64_t i = 0; i < kCount; ++i) {
      const auto a_i = hn::Set(d, a[k * kCount + i]);
      left[i] = hn::MulAdd(a_i, b_left, left[i]);
      right[i] = hn::MulAdd(a_i, b_right, right[i]);
    }
  }
  if constexpr (kSums == Sums::add) {
    for (int64_t i = 0; i < kCount; ++i) {
      left[i] = hn::Add(hn::LoadU(d, c + i * stride), left[i]);
      right[i] = hn::Add(hn::LoadU(d, c + i * stride + lanes), right[i]);
    }
  }
  for (int64_t i = 0; i < kCount; ++i) {
    hn::StoreU(left[i], d, c + i * stride);
    hn::StoreU(right[i], d, c + i * stride + lanes);
  }
}

using MicroKernel = void (*)(const float*, const float*, int64_t, float*, int64_t);

template <Sums kSums, size_t... kIndex>
constexpr std::array<MicroKernel, sizeof...(kIndex)> micro_kernels(std::index_sequence<kIndex...>) {
  return {&micro_kernel<kSums, static_cast<int64_t>(kIndex) + 1>...};
}

// A strip of `rows` (1..kStripRows) rows against one panel.
HWY_INLINE void multiply_strip(int64_t rows, const float* a, const float* b, int64_t depth,
                               const PanelDestination& c) {
  constexpr auto kCounts = std::make_index_sequence<kStripRows>();
  static constexpr std::array kKernels = {micro_kernels<Sums::start>(kCounts),
                                          micro_kernels<Sums::add>(kCounts),
                                          micro_kernels<Sums::go_on>(kCounts)};
  const MicroKernel kernel = kKernels[static_cast<size_t>(c.sums)][static_cast<size_t>(rows - 1)];
  const int64_t width = panel_columns();
  if (c.columns == width) {
    kernel(a, b, depth, c.data, c.stride);
    return;
  }
  // The last panel of a row goes through a whole one.
  std::array<float, kStripRows * 2 * HWY_MAX_BYTES / sizeof(float)> whole{};
  for (int64_t i = 0; i < rows && c.sums != Sums::start; ++i) {
    std::copy_n(c.data + i * c.stride, c.columns, whole.data() + i * width);
  }
  kernel(a, b, depth, whole.data(), width);
  for (int64_t i = 0; i < rows; ++i) {
    std::copy_n(whole.data() + i * width, c.columns, c.data + i * c.stride);
  }
}

}  // namespace gorgon::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
