#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/thread_pool.h"
#include "kernels/vocabulary_cross_entropy.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/vocabulary_cross_entropy_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::exp_nonpositive;
using simd::HWY_NAMESPACE::Full;
using simd::HWY_NAMESPACE::load;
using simd::HWY_NAMESPACE::One;
using simd::HWY_NAMESPACE::store;

// max of z[0, n), n a multiple of the lanes; -inf for none.
template <class D, typename T>
float max_of(D d, const T* z, int64_t n) {
  auto max = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(d))) max = hn::Max(load(d, z + i), max);
  return hn::GetLane(hn::MaxOfLanes(d, max));
}

// sum of exp(z - m) over [0, n), n a multiple of the lanes. Two chains hide the latency of the adds.
template <class D, typename T>
float sum_of_exp(D d, const T* z, int64_t n, float max) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto m = hn::Set(d, max);
  auto even = hn::Zero(d), odd = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    even = hn::Add(even, exp_nonpositive(d, hn::Sub(load(d, z + i), m)));
    odd = hn::Add(odd, exp_nonpositive(d, hn::Sub(load(d, z + i + lanes), m)));
  }
  for (; i < n; i += lanes) even = hn::Add(even, exp_nonpositive(d, hn::Sub(load(d, z + i), m)));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
}

template <typename T>
void merge_row(const T* z, int64_t n, float& max, float& sum) {
  const Full full;
  const One one;
  const int64_t main = n / static_cast<int64_t>(hn::Lanes(full)) * static_cast<int64_t>(hn::Lanes(full));
  const float tile_max = std::max(max_of(full, z, main), max_of(one, z + main, n - main));
  const float before = max;
  max = std::max(before, tile_max);
  // exp of the vectors, so that merging ranges elsewhere by the same formula rounds the same way
  const float rescale = hn::GetLane(exp_nonpositive(one, hn::Set(one, before - max)));
  sum = sum * rescale + (sum_of_exp(full, z, main, max) + sum_of_exp(one, z + main, n - main, max));
}

void merge_row_of(const std::byte* z, DType type, int64_t n, float* max, float* sum) {
  if (type == DType::f32) {
    merge_row(reinterpret_cast<const float*>(z), n, *max, *sum);
  } else {
    merge_row(reinterpret_cast<const bf16*>(z), n, *max, *sum);
  }
}

// #{z_j > y} (or >= where ties count) over [0, n); with kGradient writes scale * exp(z - m) / s over z.
template <bool kGradient, class D, typename T>
int64_t count(D d, T* z, int64_t n, bool ties, const LogitRow& row) {
  const auto y = hn::Set(d, row.label_logit), m = hn::Set(d, row.max);
  const auto inverse = hn::Set(d, row.inverse_sum), scale = hn::Set(d, row.scale);
  size_t hits = 0;
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto v = load(d, z + i);
    hits += hn::CountTrue(d, ties ? hn::Ge(v, y) : hn::Gt(v, y));
    if constexpr (kGradient) {
      const auto p = hn::Mul(exp_nonpositive(d, hn::Sub(v, m)), inverse);
      store(d, hn::Mul(scale, p), z + i);
    }
  }
  return static_cast<int64_t>(hits);
}

template <bool kGradient, typename T>
int64_t count_segment(T* z, int64_t n, bool ties, const LogitRow& row) {
  const Full full;
  const int64_t main = n / static_cast<int64_t>(hn::Lanes(full)) * static_cast<int64_t>(hn::Lanes(full));
  return count<kGradient>(full, z, main, ties, row) + count<kGradient>(One(), z + main, n - main, ties, row);
}

template <typename T>
int64_t gradient_row(T* z, const LogitRow& row, int64_t label) {
  if (row.scale == 0.0f) {
    const int64_t hits = count_segment<false>(z, row.split, true, row) +
                         count_segment<false>(z + row.split, row.n - row.split, false, row);
    std::fill(z, z + row.n, T{});
    return hits;
  }
  const bool inside = label >= 0 && label < row.n;
  const One one;
  T at_label{};
  if (inside) {
    const auto z_label = hn::Set(one, static_cast<float>(z[label]));
    const auto p =
        hn::Mul(exp_nonpositive(one, hn::Sub(z_label, hn::Set(one, row.max))), hn::Set(one, row.inverse_sum));
    at_label = T(row.scale * (hn::GetLane(p) - 1.0f));
  }
  const int64_t hits = count_segment<true>(z, row.split, true, row) +
                       count_segment<true>(z + row.split, row.n - row.split, false, row);
  if (inside) z[label] = at_label;
  return hits;
}

int64_t gradient_row_of(std::byte* z, DType type, const LogitRow& row, int64_t label) {
  return type == DType::f32 ? gradient_row(reinterpret_cast<float*>(z), row, label)
                            : gradient_row(reinterpret_cast<bf16*>(z), row, label);
}

template <typename T>
int64_t hits_row(const T* z, const LogitRow& row) {
  return count_segment<false>(z, row.split, true, row) +
         count_segment<false>(z + row.split, row.n - row.split, false, row);
}

int64_t hits_row_of(const std::byte* z, DType type, const LogitRow& row) {
  return type == DType::f32 ? hits_row(reinterpret_cast<const float*>(z), row)
                            : hits_row(reinterpret_cast<const bf16*>(z), row);
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

namespace {

HWY_EXPORT(merge_row_of);
HWY_EXPORT(gradient_row_of);
HWY_EXPORT(hits_row_of);

constexpr int64_t kRowsPerPiece = 8;

template <typename V>
auto* row_data(const V& logits, int64_t row) {
  return logits.data + bytes_of(logits.type, row * logits.stride());
}

// Calls body(row, label's column in this range), rows spread over the threads.
template <typename Body>
void each_row(ConstView labels, int64_t begin, const Stream& stream, const Body& body) {
  stream.threads().parallel_ranges(labels.elements(), kRowsPerPiece, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) {
      const int64_t label = labels.as<int32_t>()[i];
      body(i, label < 0 ? int64_t{-1} : label - begin);
    }
  });
}

}  // namespace

void merge_statistics(ConstView logits, bool first, const CrossEntropyStatistics& statistics,
                      const Stream& stream) {
  const auto merge = HWY_DYNAMIC_DISPATCH(merge_row_of);
  const int64_t n = logits.shape[1];
  stream.threads().parallel_ranges(logits.rows(), kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* max = statistics.max.as<float>() + i;
      float* sum = statistics.sum.as<float>() + i;
      if (first) {
        *max = -std::numeric_limits<float>::infinity();
        *sum = 0.0f;
      }
      merge(row_data(logits, i), logits.type, n, max, sum);
    }
  });
}

void label_logits(ConstView logits, ConstView labels, int64_t begin, View out, const Stream& stream) {
  each_row(labels, begin, stream, [&](int64_t i, int64_t label) {
    float y = -std::numeric_limits<float>::infinity();
    if (label >= 0 && label < logits.shape[1]) {
      const auto* row = row_data(logits, i);
      y = logits.type == DType::f32 ? reinterpret_cast<const float*>(row)[label]
                                    : static_cast<float>(reinterpret_cast<const bf16*>(row)[label]);
    }
    out.as<float>()[i] = y;
  });
}

void cross_entropy_hits(ConstView logits, ConstView labels, int64_t begin,
                        const CrossEntropyStatistics& whole, View hits, const Stream& stream) {
  const auto row_hits = HWY_DYNAMIC_DISPATCH(hits_row_of);
  const int64_t n = logits.shape[1];
  each_row(labels, begin, stream, [&](int64_t i, int64_t label) {
    const LogitRow row{n, std::clamp<int64_t>(label, 0, n), whole.label_logit.as<float>()[i], 0, 0, 0};
    hits.as<int32_t>()[i] = static_cast<int32_t>(row_hits(row_data(logits, i), logits.type, row));
  });
}

void cross_entropy_gradient(View logits, ConstView labels, int64_t begin, const CrossEntropyStatistics& whole,
                            ConstView row_scale, View hits, const Stream& stream) {
  const auto gradient = HWY_DYNAMIC_DISPATCH(gradient_row_of);
  const int64_t n = logits.shape[1];
  each_row(labels, begin, stream, [&](int64_t i, int64_t label) {
    const LogitRow row{n,
                       std::clamp<int64_t>(label, 0, n),
                       whole.label_logit.as<float>()[i],
                       whole.max.as<float>()[i],
                       1.0f / whole.sum.as<float>()[i],
                       row_scale.as<float>()[i]};
    hits.as<int32_t>()[i] = static_cast<int32_t>(gradient(row_data(logits, i), logits.type, row, label));
  });
}

}  // namespace gorgon::cpu
#endif  // HWY_ONCE
