#pragma once

#include "kernels/gemm.h"
#include "kernels/tensor.h"

namespace gorgon {

// Cross-entropy of a Linear without bias over one chunk of R rows and one range [begin, begin + N) of the
// vocabulary, N = weight rows. Several ranges (devices, processes) reduce their statistics between the two
// calls; one process passes the whole vocabulary as one range. Labels < 0 or outside the whole vocabulary are
// never matched.
//
//   z = x W^T, rounded to T (the type of x) and kept in `logits`; everything below reads those rounded
//   values.
//   statistics per row: m = max z, s = sum exp(z - m), y = z[label] or -inf where the label is outside the
//     range; of the whole row: m* = max m_r, s* = sum s_r exp(m_r - m*), y* = max y_r.
//   CE = m* + log s* - y*
//   gradient: g = row_scale (exp(z - m*) / s* - [j = label]), written over z; rows with row_scale 0 get zeros
//   hits: #{j : z_j > y*, or z_j = y* and j < label}, so that a row is a top-n hit when the sum over ranges
//     is < n; a label that is never matched misses every n < N
//
// A logit that is not a number, or +inf, makes s* one too, and with it the row's CE.
// Row strides of x, weight and logits are honoured. Row i depends on row i alone. Statistics are taken over
// kVocabularyTile columns at a time, in order; bits depend on the instruction set (its vectors' length is the
// order of the sum), never on the number of threads or of rows.
struct CrossEntropyStatistics {
  View max;          // f32[R]
  View sum;          // f32[R]
  View label_logit;  // f32[R]
};

// An empty range has max -inf, sum 0 and label_logit -inf, and no hits.
//
// Columns whose logits are still in the cache when their statistics are taken.
constexpr int64_t kVocabularyTile = 4096;

// x T[R, H], weight T[N, H], labels i32[R], logits T[R, N] (out); T = f32 or bf16.
void cross_entropy_statistics(ConstView x, ConstView weight, ConstView labels, int64_t begin, View logits,
                              const CrossEntropyStatistics& statistics, const Stream& stream);

// Statistics of n ranges to those of the whole row: ranges f32[n, 3, R] (max, sum, label_logit of the first
// range, then of the second, ...), added up in that order. Not overlapping.
void merge_ranges(ConstView ranges, const CrossEntropyStatistics& whole, const Stream& stream);

// hits i32[R] alone, for evaluation; logits are left as they are.
void cross_entropy_hits(ConstView logits, ConstView labels, int64_t begin,
                        const CrossEntropyStatistics& whole, View hits, const Stream& stream);

// hits i32[R] and the gradient with respect to the logits, in place. row_scale f32[R].
void cross_entropy_gradient(View logits, ConstView labels, int64_t begin, const CrossEntropyStatistics& whole,
                            ConstView row_scale, View hits, const Stream& stream);

namespace cpu {
void merge_ranges(ConstView ranges, const CrossEntropyStatistics& whole, const Stream& stream);
// What one row of logits needs: the label's column, clamped to 0..n (ties count before it only), and numbers
// of the whole row.
struct LogitRow {
  int64_t n, split;
  float label_logit, max, inverse_sum, scale;
};
// Statistics of one tile of logits, merged into those of the columns before it (first: there are none).
void merge_statistics(ConstView logits, bool first, const CrossEntropyStatistics& statistics,
                      const Stream& stream);
void cross_entropy_hits(ConstView logits, ConstView labels, int64_t begin,
                        const CrossEntropyStatistics& whole, View hits, const Stream& stream);
void cross_entropy_gradient(View logits, ConstView labels, int64_t begin, const CrossEntropyStatistics& whole,
                            ConstView row_scale, View hits, const Stream& stream);
void label_logits(ConstView logits, ConstView labels, int64_t begin, View out, const Stream& stream);
}  // namespace cpu
namespace cuda {
void merge_ranges(ConstView ranges, const CrossEntropyStatistics& whole, const Stream& stream);
void cross_entropy_statistics(ConstView x, ConstView weight, ConstView labels, int64_t begin, View logits,
                              const CrossEntropyStatistics& statistics, const Stream& stream);
void cross_entropy_hits(ConstView logits, ConstView labels, int64_t begin,
                        const CrossEntropyStatistics& whole, View hits, const Stream& stream);
void cross_entropy_gradient(View logits, ConstView labels, int64_t begin, const CrossEntropyStatistics& whole,
                            ConstView row_scale, View hits, const Stream& stream);
}  // namespace cuda

}  // namespace gorgon
