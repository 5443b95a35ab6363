#include "kernels/vocabulary_cross_entropy.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/profile.h"

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

}  // namespace

void cross_entropy_statistics(ConstView x, ConstView weight, ConstView labels, int64_t begin, View logits,
                              const CrossEntropyStatistics& statistics, const Stream& stream) {
  constexpr const char* kWhere = "cross_entropy_statistics";
  check_rows(logits, labels, statistics, kWhere);
  require(x.shape.rank() == 2 && weight.shape.rank() == 2 && x.shape[1] == weight.shape[1] &&
              logits.shape[0] == x.shape[0] && logits.shape[1] == weight.shape[0],
          kWhere, "shapes of x, weight and logits");
  require(x.type == logits.type, kWhere, "logits are of another type than x");
  require(weight.shape[0] > 0, kWhere, "an empty range");
  if (logits.rows() == 0) return;
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
  if (logits.rows() == 0) return;
  (on_gpu(stream) ? cuda::cross_entropy_hits : cpu::cross_entropy_hits)(logits, labels, begin, whole, hits,
                                                                        stream);
}

void cross_entropy_gradient(View logits, ConstView labels, int64_t begin, const CrossEntropyStatistics& whole,
                            ConstView row_scale, View hits, const Stream& stream) {
  check_rows(logits, labels, whole, "cross_entropy_gradient");
  check_hits(logits, hits, "cross_entropy_gradient");
  require(row_scale.type == DType::f32 && row_scale.elements() == logits.rows(), "cross_entropy_gradient",
          "row_scale is not f32[R]");
  if (logits.rows() == 0) return;
  (on_gpu(stream) ? cuda::cross_entropy_gradient : cpu::cross_entropy_gradient)(logits, labels, begin, whole,
                                                                                row_scale, hits, stream);
}

}  // namespace gorgon
