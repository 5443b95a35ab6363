#include "kernels/vocabulary_cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/error.h"
#include "kernels/profile.h"
#include "kernels/transfer.h"

namespace gorgon {

namespace {

void check_rows(ConstView logits, ConstView labels, const CrossEntropyStatistics& s, const char* where) {
  const int64_t rows = logits.rows();
  require(logits.shape.rank() == 2 && (logits.type == DType::f32 || logits.type == DType::bf16), where,
          "logits are no f32 or bf16 matrix");
  require(labels.type == DType::i32 && labels.elements() == rows, where, "labels are not i32[R]");
  for (const View& v : {s.max, s.sum, s.label_logit}) {
    require(v.type == DType::f32 && v.elements() == rows, where, "statistics are not f32[R]");
  }
}

void check_hits(ConstView logits, ConstView hits, const char* where) {
  require(hits.type == DType::i32 && hits.elements() == logits.rows(), where, "hits are not i32[R]");
}

bool on_gpu(const Stream& stream) {
  return stream.device().kind == DeviceKind::cuda;
}

void statistics_of_nothing(const CrossEntropyStatistics& s, const Stream& stream) {
  const std::vector<float> lowest(static_cast<size_t>(s.max.elements()),
                                  -std::numeric_limits<float>::infinity());
  upload(lowest, s.max, stream);
  zero(s.sum, stream);
  upload(lowest, s.label_logit, stream);
}

}  // namespace

void cross_entropy_statistics(ConstView x, ConstView weight, ConstView labels, int64_t begin, View logits,
                              const CrossEntropyStatistics& statistics, const Stream& stream) {
  constexpr const char* kWhere = "cross_entropy_statistics";
  check_rows(logits, labels, statistics, kWhere);
  require(x.shape.rank() == 2 && weight.shape.rank() == 2 && x.shape[1] == weight.shape[1] &&
              logits.shape[0] == x.shape[0] && logits.shape[1] == weight.shape[0],
          kWhere, "shapes of x, weight and logits");
  require(x.type == logits.type, kWhere, "logits are of another type than x");
  if (logits.rows() == 0) return;
  if (weight.shape[0] == 0) return statistics_of_nothing(statistics, stream);
  if (on_gpu(stream)) {
    cuda::cross_entropy_statistics(x, weight, labels, begin, logits, statistics, stream);
    return;
  }
  const int64_t columns = logits.shape[1];
  for (int64_t at = 0; at < columns; at += kVocabularyTile) {
    const int64_t end = std::min(columns, at + kVocabularyTile);
    const View tile = logits.columns(at, end);
    gemm(x, weight.rows(at, end), tile, {.transpose_b = true}, stream);
    const ProfileScope scope(stream, "heads: statistics of the logits");
    cpu::merge_statistics(tile, at == 0, statistics, stream);
  }
  cpu::label_logits(logits, labels, begin, statistics.label_logit, stream);
}

void cross_entropy_hits(ConstView logits, ConstView labels, int64_t begin,
                        const CrossEntropyStatistics& whole, View hits, const Stream& stream) {
  check_rows(logits, labels, whole, "cross_entropy_hits");
  check_hits(logits, hits, "cross_entropy_hits");
  if (logits.elements() == 0) return zero(hits, stream);
  (on_gpu(stream) ? cuda::cross_entropy_hits : cpu::cross_entropy_hits)(logits, labels, begin, whole, hits,
                                                                        stream);
}

void cross_entropy_gradient(View logits, ConstView labels, int64_t begin, const CrossEntropyStatistics& whole,
                            ConstView row_scale, View hits, const Stream& stream) {
  check_rows(logits, labels, whole, "cross_entropy_gradient");
  check_hits(logits, hits, "cross_entropy_gradient");
  require(row_scale.type == DType::f32 && row_scale.elements() == logits.rows(), "cross_entropy_gradient",
          "row_scale is not f32[R]");
  if (logits.elements() == 0) return zero(hits, stream);
  (on_gpu(stream) ? cuda::cross_entropy_gradient : cpu::cross_entropy_gradient)(logits, labels, begin, whole,
                                                                                row_scale, hits, stream);
}

void merge_ranges(ConstView ranges, const CrossEntropyStatistics& whole, const Stream& stream) {
  require(
      ranges.shape.rank() == 3 && ranges.shape[1] == 3 && ranges.contiguous() && ranges.type == DType::f32,
      "merge_ranges", "ranges are not f32[n, 3, R]");
  for (const View& v : {whole.max, whole.sum, whole.label_logit}) {
    require(v.type == DType::f32 && v.elements() == ranges.shape[2], "merge_ranges", "statistics");
  }
  if (ranges.elements() == 0) return;
  (on_gpu(stream) ? cuda::merge_ranges : cpu::merge_ranges)(ranges, whole, stream);
}

void cpu::merge_ranges(ConstView ranges, const CrossEntropyStatistics& whole, const Stream&) {
  const int64_t n = ranges.shape[0], rows = ranges.shape[2];
  for (int64_t i = 0; i < rows; ++i) {
    const auto value = [&](int64_t range, int64_t which) {
      return ranges.as<float>()[(3 * range + which) * rows + i];
    };
    float max = -std::numeric_limits<float>::infinity(), label = max;
    double sum = 0;
    for (int64_t r = 0; r < n; ++r) {
      max = std::max(max, value(r, 0));
      label = std::max(label, value(r, 2));
    }
    for (int64_t r = 0; r < n; ++r) {
      if (value(r, 1) == 0.0f) continue;  // an empty range: its maximum says nothing
      sum += static_cast<double>(value(r, 1)) *
             std::exp(static_cast<double>(value(r, 0)) - static_cast<double>(max));
    }
    whole.max.as<float>()[i] = max;
    whole.sum.as<float>()[i] = static_cast<float>(sum);
    whole.label_logit.as<float>()[i] = label;
  }
}

}  // namespace gorgon
