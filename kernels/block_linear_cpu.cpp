// VNNI multiplies and adds pairs of 16 bits in one instruction; Highway builds for such chips on demand.
#define HWY_WANT_AVX3_DL

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/block_linear.h"
#include "kernels/dequantise.h"
#include "kernels/fixed_vectors.h"  // sums are arrays of vectors
#include "kernels/packed_rows.h"
#include "kernels/worker_loop.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/block_linear_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/packed_rows-inl.h"

#ifndef GORGON_KERNELS_BLOCK_LINEAR_CPU
#define GORGON_KERNELS_BLOCK_LINEAR_CPU
namespace gorgon::cpu {

constexpr int64_t kDepth = 256;  // columns that a panel holds at a time; chains of gemm() are as long
constexpr int64_t kWidestPanel = 32, kTallestStrip = 8;  // of the widest target

// Memory of one thread, for panels of all widths.
struct PanelBuffers {
  float* panel;  // [kDepth][kWidestPanel]
  float* rows;   // [kWidestPanel][kDepth], decoded row by row
  float* sums;   // [m][kWidestPanel]
};

}  // namespace gorgon::cpu
#endif

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL  // chips that have VNNI, which Highway 1.0 does not use itself
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#else
HWY_BEFORE_NAMESPACE();
#endif
namespace gorgon::cpu::HWY_NAMESPACE {

using namespace simd::HWY_NAMESPACE;

using IntegerVector = hn::Vec<hn::RebindToSigned<Full>>;

// Quads [kQuad, kEnd) of a group, times rows of x: exact.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL

template <class Block, int64_t kCount, int kQuad, int kEnd>
HWY_INLINE void add_quads(const uint32_t* words, const uint32_t* x, IntegerVector (&sums)[kCount]) {
  if constexpr (kQuad < kEnd) {
    const auto q = Block::template quad<kQuad>(words);
    for (int64_t i = 0; i < kCount; ++i) {
      const auto quad = _mm512_set1_epi32(static_cast<int>(x[kQuad * kCount + i]));
      sums[i].raw = _mm512_dpbusd_epi32(sums[i].raw, q.raw, quad);
    }
    add_quads<Block, kCount, kQuad + 1, kEnd>(words, x, sums);
  }
}

// The upper bytes of x, 256 times that, then the lower ones.
template <class Block, int64_t kCount, int kQuad, int kEnd>
HWY_INLINE void multiply_quads(const uint32_t* words, const uint32_t* x, IntegerVector (&sums)[kCount]) {
  add_quads<Block, kCount, kQuad, kEnd>(words, x, sums);
  for (int64_t i = 0; i < kCount; ++i) sums[i] = hn::ShiftLeft<8>(sums[i]);
  add_quads<Block, kCount, kQuad, kEnd>(words, x + 8 * kCount, sums);
}

#else

// sum + the two products of 16-bit halves in each lane; `q` is not negative.
HWY_INLINE IntegerVector add_pairs(IntegerVector sum, WordVector q, uint32_t x) {
  const hn::RebindToSigned<Full> d;
#if HWY_MAJOR >= 1 && HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  const hn::Repartition<int16_t, decltype(d)> d16;
  const auto pairs = hn::BitCast(d16, hn::Set(Words(), x));
  auto unused = hn::Zero(d);
  return hn::ReorderWidenMulAccumulate(d, hn::BitCast(d16, q), pairs, sum, unused);
#else
  const auto low = hn::BitCast(d, hn::And(q, hn::Set(Words(), 0xffffu)));
  const auto high = hn::BitCast(d, hn::ShiftRight<16>(q));
  const auto x_low = hn::Set(d, static_cast<int16_t>(x & 0xffffu)),
             x_high = hn::Set(d, static_cast<int16_t>(x >> 16));
  return hn::Add(sum, hn::Add(hn::Mul(low, x_low), hn::Mul(high, x_high)));
#endif
}

template <class Block, int64_t kCount, int kQuad, int kEnd>
HWY_INLINE void multiply_quads(const uint32_t* words, const uint32_t* x, IntegerVector (&sums)[kCount]) {
  if constexpr (kQuad < kEnd) {
    const auto quad = Block::template quad<kQuad>(words), mask = hn::Set(Words(), 0x00ff00ffu);
    const auto even = hn::And(quad, mask), odd = hn::And(hn::ShiftRight<8>(quad), mask);
    const uint32_t* pairs = x + 2 * kQuad * kCount;
    for (int64_t i = 0; i < kCount; ++i) sums[i] = add_pairs(sums[i], even, pairs[i]);
    for (int64_t i = 0; i < kCount; ++i) sums[i] = add_pairs(sums[i], odd, pairs[kCount + i]);
    multiply_quads<Block, kCount, kQuad + 1, kEnd>(words, x, sums);
  }
}

#endif

// Columns of group g that share scale number kScale, times rows of x, added to `all`.
template <class Block, int64_t kCount, int kScale>
HWY_INLINE void multiply_part(const uint32_t* words, const PackedRows& x, int64_t g, const ScaleAndMin& by,
                              hn::Vec<Full> (&all)[kCount]) {
  constexpr int kQuads = 8 / Block::kScales;
  const Full d;
  IntegerVector products[kCount];
  for (int64_t i = 0; i < kCount; ++i) products[i] = hn::Zero(hn::RebindToSigned<Full>());
  multiply_quads<Block, kCount, kScale * kQuads, (kScale + 1) * kQuads>(words, x.words + g * 16 * kCount,
                                                                        products);
  const float* sums = x.sums + (g * Block::kScales + kScale) * kCount;
  for (int64_t i = 0; i < kCount; ++i) {
    const auto scale = hn::Set(d, x.scales[g * kCount + i]);
    all[i] = hn::MulAdd(hn::ConvertTo(d, products[i]), hn::Mul(by.scale, scale), all[i]);
    all[i] = hn::MulAdd(by.min, hn::Set(d, sums[i]), all[i]);
  }
}

// sums[i][lanes] = row i of a strip times all groups of a part; sums of rows lie `stride` apart. Products of
// columns that share a scale are exact; they are added in order, whatever kCount. One vector of rows of the
// weight at a time: two need more registers than there are, and the compiler then keeps sums in memory.
template <class Block, int64_t kCount>
void multiply_groups(const PackedRows& x, const PanelPart& part, int64_t groups, float* sums,
                     int64_t stride) {
  const Full d;
  hn::Vec<Full> all[kCount];
  for (int64_t i = 0; i < kCount; ++i) all[i] = hn::Zero(d);
  for (int64_t g = 0; g < groups; ++g) {
    const uint32_t* words = part.words + g * Block::kWords * kPanelRows;
    fetch_ahead<Block>(words);
    const auto scales = Block::read(part, g);
    multiply_part<Block, kCount, 0>(words, x, g, scales[0], all);
    if constexpr (Block::kScales == 2) multiply_part<Block, kCount, 1>(words, x, g, scales[1], all);
  }
  for (int64_t i = 0; i < kCount; ++i) hn::Store(all[i], d, sums + i * stride);
}

using GroupKernel = void (*)(const PackedRows&, const PanelPart&, int64_t, float*, int64_t);

template <class Block, size_t... kIndex>
constexpr std::array<GroupKernel, sizeof...(kIndex)> group_kernels(std::index_sequence<kIndex...>) {
  return {&multiply_groups<Block, static_cast<int64_t>(kIndex) + 1>...};
}

// All rows of x with as many rows of the weight as a panel of gemm() has columns: sums f32[m][those].
class PanelProduct {
 public:
  PanelProduct(const WeightMatrix& weight, bool integers, int64_t m, const PackedRows& x,
               const PanelBuffers& buffers)
      : weight_(weight), integers_(integers), m_(m), x_(x), buffers_(buffers), width_(panel_columns()) {}

  void run(int64_t row) {
    if (in_panels(weight_)) return run_panels(row);
    for (int64_t k = 0; k < weight_.columns; k += kDepth) {
      const int64_t depth = std::min(kDepth, weight_.columns - k);
      decode_rows(row, k, depth);
      multiply_floats(k, depth);
    }
  }

 private:
  void run_panels(int64_t row) {
    switch (weight_.type) {
      case DType::q4_0:
        return multiply_panels<Q4_0>(row);
      case DType::q4_1:
        return multiply_panels<Q4_1>(row);
      case DType::q5_0:
        return multiply_panels<Q5_0>(row);
      case DType::q5_1:
        return multiply_panels<Q5_1>(row);
      case DType::q8_0:
        return multiply_panels<Q8_0>(row);
      case DType::q4_k:
        return multiply_panels<Q4_K>(row);
      case DType::q5_k:
        return multiply_panels<Q5_K>(row);
      default:
        return multiply_panels<Q6_K>(row);
    }
  }

  template <class Block>
  void multiply_panels(int64_t row) {
    const PanelShape shape = panel_shape(weight_.type, weight_.columns);
    const std::array<PanelPart, 2> parts = {panel_part(weight_, shape, row),
                                            panel_part(weight_, shape, row + width_ / 2)};
    if (integers_) {
      multiply_integers<Block>(parts, shape.groups);
      return;
    }
    for (int64_t g = 0; g < shape.groups; g += kDepth / kGroup) {
      const int64_t end = std::min(shape.groups, g + kDepth / kGroup);
      f32_panel<Block>(parts, g, end, buffers_.panel);
      multiply_floats(g * kGroup, (end - g) * kGroup);
    }
  }

  template <class Block>
  void multiply_integers(const std::array<PanelPart, 2>& parts, int64_t groups) {
    static constexpr auto kKernels = group_kernels<Block>(std::make_index_sequence<kStripRows>());
    for (int64_t i = 0; i < m_; i += kStripRows) {
      const int64_t rows = std::min(kStripRows, m_ - i), at = i * groups;
      const PackedRows x{nullptr, x_.words + at * 16, x_.scales + at, x_.sums + at * Block::kScales};
      for (int64_t part = 0; part < 2; ++part) {
        kKernels[static_cast<size_t>(rows - 1)](x, parts[static_cast<size_t>(part)], groups,
                                                buffers_.sums + i * width_ + part * width_ / 2, width_);
      }
    }
  }

  void multiply_floats(int64_t k, int64_t depth) {
    for (int64_t i = 0; i < m_; i += kStripRows) {
      const int64_t rows = std::min(kStripRows, m_ - i);
      multiply_strip(rows, x_.values + i * weight_.columns + k * rows, buffers_.panel, depth,
                     {buffers_.sums + i * width_, width_, width_, k == 0 ? Sums::start : Sums::add});
    }
  }

  void decode_rows(int64_t row, int64_t k, int64_t depth) {
    const int64_t bytes = bytes_of(weight_.type, weight_.columns),
                  rows = std::min(width_, weight_.rows - row);
    for (int64_t r = 0; r < rows; ++r) {
      const std::byte* blocks = weight_.storage->data() + (row + r) * bytes + bytes_of(weight_.type, k);
      dequantise_elements(weight_.type, blocks, depth, DType::f32, buffers_.rows + r * kDepth);
    }
    pack_transposed(buffers_.rows, kDepth, rows, depth, width_, buffers_.panel);
  }

  const WeightMatrix& weight_;
  bool integers_;
  int64_t m_;
  const PackedRows& x_;
  const PanelBuffers& buffers_;
  int64_t width_;
};

void multiply_panel(const WeightMatrix& weight, bool integers, int64_t row, int64_t m, const PackedRows& x,
                    const PanelBuffers& buffers) {
  PanelProduct(weight, integers, m, x, buffers).run(row);
}

// Rows of y take those sums of a panel that are columns of y.
template <typename T>
void write_panel_of(const float* sums, int64_t width, int64_t columns, T* y, int64_t stride, int64_t m,
                    Write write) {
  for (int64_t i = 0; i < m; ++i, sums += width, y += stride) {
    over(columns, [&](auto d, int64_t j) HWY_ATTR {
      auto value = load(d, sums + j);
      if (write == Write::accumulate) value = hn::Add(load(d, y + j), value);
      store(d, value, y + j);
    });
  }
}

void write_panel(const float* sums, View y, int64_t column, Write write) {
  const int64_t width = panel_columns(), columns = std::min(width, y.columns() - column);
  if (y.type == DType::f32) {
    write_panel_of(sums, width, columns, y.as<float>() + column, y.stride(), y.rows(), write);
  } else {
    write_panel_of(sums, width, columns, y.as<bf16>() + column, y.stride(), y.rows(), write);
  }
}

int64_t panel_rows() {
  return panel_columns();
}
int64_t strip_rows() {
  return kStripRows;
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(pack_strip);
HWY_EXPORT(multiply_panel);
HWY_EXPORT(write_panel);
HWY_EXPORT(panel_rows);
HWY_EXPORT(strip_rows);

namespace {

// Owns what the kernels read and write.
class RowPacker {
 public:
  // `scales` of a group of the weight; 0 leaves x as it is, in f32.
  RowPacker(ConstView x, int64_t scales, const Stream& stream)
      : memory_(DType::f32, {scales > 0 ? x.elements() / kGroup * (16 + 1 + scales) : x.elements()}) {
    float* next = memory_.as<float>();
    const int64_t columns = x.columns(), groups = columns / kGroup, m = x.rows();
    const int64_t strip = HWY_DYNAMIC_DISPATCH(strip_rows)();
    PackedRowsOut out{next, reinterpret_cast<uint32_t*>(next), next + m * columns / 2, nullptr};
    out.sums = out.scales + m * groups;
    packed_ = {out.values, out.words, out.scales, out.sums};
    const auto pack = [&](int64_t s) {
      const int64_t row = s * strip, rows = std::min(strip, m - row);
      HWY_DYNAMIC_DISPATCH(pack_strip)
      (x, scales, row, rows,
       {out.values + row * columns, out.words + row * columns / 2, out.scales + row * groups,
        out.sums + row * groups * scales});
    };
    const int64_t strips = (m + strip - 1) / strip;
    if (strips <= 2) {
      for (int64_t s = 0; s < strips; ++s) pack(s);  // sooner done than the threads are awake
    } else {
      stream.threads().parallel_for(strips, pack);
    }
  }
  const PackedRows& rows() const { return packed_; }

 private:
  Tensor memory_;
  PackedRows packed_{};
};

class PanelMemory {
 public:
  explicit PanelMemory(int64_t m) : memory_(DType::f32, {(2 * kDepth + m) * kWidestPanel}) {
    buffers_.panel = memory_.as<float>();
    buffers_.rows = buffers_.panel + kDepth * kWidestPanel;
    buffers_.sums = buffers_.rows + kDepth * kWidestPanel;
  }
  const PanelBuffers& buffers() const { return buffers_; }

 private:
  Tensor memory_;
  PanelBuffers buffers_{};
};

}  // namespace

void block_linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream) {
  const bool integers = x.type == DType::bf16 && in_panels(weight);
  const RowPacker packer(x, integers ? scales_of_group(weight.type) : 0, stream);
  const int64_t width = HWY_DYNAMIC_DISPATCH(panel_rows)(), m = x.rows();
  const int64_t panels = (weight.rows + width - 1) / width;
  // Some panels at a time lie one behind the other in memory; enough pieces keep every thread busy.
  const int64_t piece = std::clamp<int64_t>(panels / (8 * stream.threads().size()), 1, 8);
  parallel_workers(stream.threads(), (panels + piece - 1) / piece, [&] {
    return [&, memory = PanelMemory(m)](int64_t i) {
      for (int64_t panel = i * piece; panel < std::min(panels, (i + 1) * piece); ++panel) {
        HWY_DYNAMIC_DISPATCH(multiply_panel)
        (weight, integers, panel * width, m, packer.rows(), memory.buffers());
        HWY_DYNAMIC_DISPATCH(write_panel)(memory.buffers().sums, y, panel * width, write);
      }
    };
  });
}

}  // namespace gorgon::cpu
#endif
