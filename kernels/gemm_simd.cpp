// f32 arithmetic of gemm().
#include <algorithm>

#include "kernels/error.h"
#include "kernels/fixed_vectors.h"  // accumulators live in arrays of vectors
#include "kernels/gemm_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

using namespace simd::HWY_NAMESPACE;

// Terms of one chain; part of the contract in gemm_tiles.h.
constexpr int64_t kDepth = 256;

// One range of k: sums of the tile written or added at `sums`. packed_a: [strips][kDepth][strip's rows];
// packed_b: [kDepth][panel columns].
template <typename T>
void multiply_range(const Product& p, const Tile& t, int64_t k, int64_t depth, float* packed_a,
                    float* packed_b, float* sums, int64_t stride, bool add) {
  const auto [a, b, c, options] = p;
  const int64_t strips = (t.rows + kStripRows - 1) / kStripRows;
  for (int64_t s = 0; s < strips; ++s) {
    const int64_t row = t.row + s * kStripRows, rows = std::min(kStripRows, t.rows - s * kStripRows);
    float* to = packed_a + s * kStripRows * kDepth;
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
      const int64_t rows = std::min(kStripRows, t.rows - s * kStripRows);
      multiply_strip(rows, packed_a + s * kStripRows * kDepth, packed_b, depth,
                     {sums + s * kStripRows * stride + j, stride, columns, add ? Sums::add : Sums::start});
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
