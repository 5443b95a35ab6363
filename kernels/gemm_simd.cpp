// f32 arithmetic of gemm(): packed panels and a register-blocked micro-kernel, after Goto and van de Geijn,
// "Anatomy of high-performance matrix multiplication", TOMS 34 (2008).
#include <algorithm>
#include <array>
#include <utility>

#include "kernels/error.h"
#include "kernels/gemm_tiles.h"

// Accumulators live in arrays of vectors, which vectors of unknown size cannot.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_simd.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;

// Terms of one chain; part of the contract in gemm_tiles.h.
constexpr int64_t kDepth = 256;
// A micro-tile: kRows rows by two vectors. Four rows keep AVX2's 16 registers, eight those of 32.
constexpr int64_t kRows = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 8 : 4;
HWY_INLINE int64_t panel_columns() {
  static_assert(HWY_MAX_BYTES <= 64);
  return static_cast<int64_t>(2 * hn::Lanes(F32()));
}

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <class D>
HWY_INLINE hn::Vec<D> load(D d, const bf16* from) {
  const hn::Rebind<uint16_t, D> half;
  const hn::RebindToUnsigned<D> whole;
  const auto bits = hn::LoadU(half, reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(whole, bits)));
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
  const hn::CappedTag<float, 4> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k < depth; ++k) {
    int64_t i = 0;
    for (; i + lanes <= rows; i += lanes) hn::StoreU(load(d, from + k * stride + i), d, to + k * width + i);
    for (; i < width; ++i) to[k * width + i] = i < rows ? static_cast<float>(from[k * stride + i]) : 0.0f;
  }
}

struct Destination {
  float* data;
  int64_t stride;
  int64_t columns;  // of the panel that exist
  bool add;
};

template <int64_t kCount>
void micro_kernel(const float* HWY_RESTRICT a, int64_t a_width, const float* HWY_RESTRICT b, int64_t depth,
                  const Destination& c) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  std::array<hn::Vec<F32>, kCount> left, right;
  for (int64_t i = 0; i < kCount; ++i) left[i] = right[i] = hn::Zero(d);
  for (int64_t k = 0; k < depth; ++k) {
    const auto b_left = hn::Load(d, b + k * 2 * lanes);
    const auto b_right = hn::Load(d, b + k * 2 * lanes + lanes);
    for (int64_t i = 0; i < kCount; ++i) {
      const auto a_i = hn::Set(d, a[k * a_width + i]);
      left[i] = hn::MulAdd(a_i, b_left, left[i]);
      right[i] = hn::MulAdd(a_i, b_right, right[i]);
    }
  }
  const auto put = [&](hn::Vec<F32> sum, float* at)
                       HWY_ATTR { hn::StoreU(c.add ? hn::Add(hn::LoadU(d, at), sum) : sum, d, at); };
  for (int64_t i = 0; i < kCount; ++i) {
    float* row = c.data + i * c.stride;
    if (c.columns == 2 * lanes) {
      put(left[i], row);
      put(right[i], row + lanes);
      continue;
    }
    HWY_ALIGN std::array<float, 2 * HWY_MAX_BYTES / sizeof(float)> sums;
    hn::Store(left[i], d, sums.data());
    hn::Store(right[i], d, sums.data() + lanes);
    for (int64_t j = 0; j < c.columns; ++j) row[j] = c.add ? row[j] + sums[j] : sums[j];
  }
}

using MicroKernel = void (*)(const float*, int64_t, const float*, int64_t, const Destination&);

template <size_t... kIndex>
constexpr std::array<MicroKernel, sizeof...(kIndex)> micro_kernels(std::index_sequence<kIndex...>) {
  return {&micro_kernel<static_cast<int64_t>(kIndex) + 1>...};
}
constexpr auto kMicroKernels = micro_kernels(std::make_index_sequence<kRows>());

// One range of k: sums of the tile written or added at `sums`. packed_a: [strips][kDepth][strip's rows];
// packed_b: [kDepth][panel columns].
template <typename T>
void multiply_range(const Product& p, const Tile& t, int64_t k, int64_t depth, float* packed_a,
                    float* packed_b, float* sums, int64_t stride, bool add) {
  const auto [a, b, c, options] = p;
  const int64_t strips = (t.rows + kRows - 1) / kRows;
  for (int64_t s = 0; s < strips; ++s) {
    const int64_t row = t.row + s * kRows, rows = std::min(kRows, t.rows - s * kRows);
    float* to = packed_a + s * kRows * kDepth;
    if (options.transpose_a) {
      pack_straight(a.as<T>() + k * a.stride() + row, a.stride(), rows, depth, rows, to);
    } else {
      pack_transposed(a.as<T>() + row * a.stride() + k, a.stride(), rows, depth, rows, to);
    }
  }
  const int64_t width = panel_columns();
  for (int64_t j = 0; j < t.columns; j += width) {
    const int64_t column = t.column + j, columns = std::min(width, t.columns - j);
    if (options.transpose_b) {
      pack_transposed(b.as<T>() + column * b.stride() + k, b.stride(), columns, depth, width, packed_b);
    } else {
      pack_straight(b.as<T>() + k * b.stride() + column, b.stride(), columns, depth, width, packed_b);
    }
    for (int64_t s = 0; s < strips; ++s) {
      const int64_t rows = std::min(kRows, t.rows - s * kRows);
      kMicroKernels[static_cast<size_t>(rows - 1)](packed_a + s * kRows * kDepth, rows, packed_b, depth,
                                                   {sums + s * kRows * stride + j, stride, columns, add});
    }
  }
}

void multiply_tile(const Product& p, const Tile& t, float* packed_a, float* packed_b, float* sums,
                   int64_t stride) {
  for (int64_t k = 0; k < p.k(); k += kDepth) {
    const bool add = k > 0 || p.options.write == Write::accumulate;
    const int64_t depth = std::min(kDepth, p.k() - k);
    if (p.a.type == DType::f32) {
      multiply_range<float>(p, t, k, depth, packed_a, packed_b, sums, stride, add);
    } else {
      multiply_range<bf16>(p, t, k, depth, packed_a, packed_b, sums, stride, add);
    }
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(multiply_tile);

namespace {

// Of the widest target, 512-bit vectors.
constexpr int64_t kMostDepth = 256, kWidestPanel = 32, kTallestStrip = 8;

float* reserve(Tensor& buffer, int64_t elements) {
  if (buffer.empty() || buffer.elements() < elements) buffer = Tensor(DType::f32, {elements});
  return buffer.as<float>();
}

}  // namespace

SimdTiles::SimdTiles(const Product& product) : product_(product) {}

void SimdTiles::multiply(const Tile& t) {
  const int64_t padded_rows = (t.rows + kTallestStrip - 1) / kTallestStrip * kTallestStrip;
  float* a = reserve(packed_a_, padded_rows * kMostDepth);
  float* b = reserve(packed_b_, kWidestPanel * kMostDepth);
  const View c = product_.c;
  std::byte* corner = c.data + bytes_of(c.type, t.row * c.stride() + t.column);
  if (c.type == DType::f32) {
    HWY_DYNAMIC_DISPATCH(multiply_tile)
    (product_, t, a, b, reinterpret_cast<float*>(corner), c.stride());
    return;
  }
  float* sums = reserve(sums_, t.rows * t.columns);
  HWY_DYNAMIC_DISPATCH(multiply_tile)(product_, t, a, b, sums, t.columns);
  for (int64_t i = 0; i < t.rows; ++i) {
    bf16* row = reinterpret_cast<bf16*>(corner) + i * c.stride();
    for (int64_t j = 0; j < t.columns; ++j) row[j] = bf16(sums[i * t.columns + j]);
  }
}

}  // namespace gorgon::cpu
#endif
