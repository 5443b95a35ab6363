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

#if HWY_TARGET == HWY_AVX3_DL  // chips that have VNNI, which Highway 1.0 does not use itself
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#else
HWY_BEFORE_NAMESPACE();
#endif
namespace gorgon::cpu::HWY_NAMESPACE {

using namespace simd::HWY_NAMESPACE;

// sum + the two products of 16-bit halves in each lane; `q` is not negative.
HWY_INLINE hn::Vec<hn::RebindToSigned<Full>> add_pairs(hn::Vec<hn::RebindToSigned<Full>> sum, WordVector q,
                                                       uint32_t x) {
  const hn::RebindToSigned<Full> d;
#if HWY_TARGET == HWY_AVX3_DL
  const auto pairs = _mm512_set1_epi32(static_cast<int>(x));
  return hn::Vec<decltype(d)>{_mm512_dpwssd_epi32(sum.raw, q.raw, pairs)};
#elif HWY_MAJOR >= 1 && HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
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

// sums[i] = row i of a strip times all groups of two parts. Sums of a group are exact; groups are added in
// order, whatever kCount.
template <class Block, int64_t kCount>
class GroupSums {
 public:
  GroupSums(const PackedRows& x, const std::array<PanelPart, 2>& parts) : x_(x), parts_(parts) {
    for (int64_t i = 0; i < kCount; ++i) left_[i] = right_[i] = hn::Zero(d_);
  }

  HWY_INLINE void add(int64_t g) {
    for (int64_t i = 0; i < kCount; ++i) left_q_[i] = right_q_[i] = hn::Zero(whole_);
    for (int64_t w = 0; w < Block::kWords; ++w) {
      const int64_t at = g * Block::kWords + w;
      const auto left = hn::LoadU(Words(), parts_[0].words + at * kPanelRows);
      const auto right = hn::LoadU(Words(), parts_[1].words + at * kPanelRows);
      const uint32_t* x = x_.pairs + at * Block::kPairsOfWord * kCount;
      add_pair<0>(left, right, x);
      add_pair<1>(left, right, x);
      if constexpr (Block::kPairsOfWord == 4) {
        add_pair<2>(left, right, x);
        add_pair<3>(left, right, x);
      }
    }
    const ScaleAndMin by_left = Block::scale_and_min(parts_[0], g),
                      by_right = Block::scale_and_min(parts_[1], g);
    for (int64_t i = 0; i < kCount; ++i) {
      const auto scale = hn::Set(d_, x_.scales[g * kCount + i]), sum = hn::Set(d_, x_.sums[g * kCount + i]);
      left_[i] = hn::MulAdd(hn::ConvertTo(d_, left_q_[i]), hn::Mul(by_left.scale, scale), left_[i]);
      right_[i] = hn::MulAdd(hn::ConvertTo(d_, right_q_[i]), hn::Mul(by_right.scale, scale), right_[i]);
      left_[i] = hn::MulAdd(by_left.min, sum, left_[i]);
      right_[i] = hn::MulAdd(by_right.min, sum, right_[i]);
    }
  }

  HWY_INLINE void store(float* sums) const {
    const auto lanes = static_cast<int64_t>(hn::Lanes(d_));
    for (int64_t i = 0; i < kCount; ++i) {
      hn::Store(left_[i], d_, sums + i * 2 * lanes);
      hn::Store(right_[i], d_, sums + (i * 2 + 1) * lanes);
    }
  }

 private:
  using Integers = hn::RebindToSigned<Full>;

  template <int kPair>
  HWY_INLINE void add_pair(WordVector left, WordVector right, const uint32_t* x) {
    const auto q_left = Block::template pair<kPair>(left), q_right = Block::template pair<kPair>(right);
    for (int64_t i = 0; i < kCount; ++i) {
      left_q_[i] = add_pairs(left_q_[i], q_left, x[kPair * kCount + i]);
      right_q_[i] = add_pairs(right_q_[i], q_right, x[kPair * kCount + i]);
    }
  }

  const Full d_;
  const Integers whole_;
  const PackedRows x_;
  const std::array<PanelPart, 2> parts_;
  std::array<hn::Vec<Full>, kCount> left_, right_;
  std::array<hn::Vec<Integers>, kCount> left_q_, right_q_;
};

template <class Block, int64_t kCount>
void multiply_groups(const PackedRows& x, const std::array<PanelPart, 2>& parts, int64_t groups,
                     float* sums) {
  GroupSums<Block, kCount> all(x, parts);
  for (int64_t g = 0; g < groups; ++g) all.add(g);
  all.store(sums);
}

using GroupKernel = void (*)(const PackedRows&, const std::array<PanelPart, 2>&, int64_t, float*);

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
    if (in_panels(weight_)) {
      switch (weight_.type) {
        case DType::q4_0:
          return multiply_panels<Nibbles<false>>(row);
        case DType::q4_1:
          return multiply_panels<Nibbles<true>>(row);
        default:
          return multiply_panels<Bytes>(row);
      }
    }
    for (int64_t k = 0; k < weight_.columns; k += kDepth) {
      const int64_t depth = std::min(kDepth, weight_.columns - k);
      decode_rows(row, k, depth);
      multiply_floats(k, depth);
    }
  }

 private:
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
      const PackedRows x{nullptr, x_.pairs + at * 16, x_.scales + at, x_.sums + at};
      kKernels[static_cast<size_t>(rows - 1)](x, parts, groups, buffers_.sums + i * width_);
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
  RowPacker(ConstView x, DType type, bool integers, const Stream& stream)
      : memory_(DType::f32, {integers ? x.elements() / 2 + x.elements() / 16 : x.elements()}) {
    float* next = memory_.as<float>();
    const int64_t columns = x.columns(), groups = columns / 32, m = x.rows();
    const int64_t strip = HWY_DYNAMIC_DISPATCH(strip_rows)();
    PackedRowsOut out{next, reinterpret_cast<uint32_t*>(next), next + m * columns / 2, nullptr};
    out.sums = out.scales + m * groups;
    packed_ = {out.values, out.pairs, out.scales, out.sums};
    const auto pack = [&](int64_t s) {
      const int64_t row = s * strip, rows = std::min(strip, m - row);
      HWY_DYNAMIC_DISPATCH(pack_strip)
      (x, type, integers, row, rows,
       {out.values + row * columns, out.pairs + row * columns / 2, out.scales + row * groups,
        out.sums + row * groups});
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
  const RowPacker packer(x, weight.type, integers, stream);
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
