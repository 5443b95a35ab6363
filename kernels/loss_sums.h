#pragma once

#include "kernels/gemm.h"
#include "kernels/vocabulary_cross_entropy.h"

namespace gorgon {

// What a step reports of one head; lives in the stream's device memory, so that nobody waits for it.
struct LossSums {
  double cross_entropy = 0;
  int64_t top[5] = {};  // rows with fewer than 1..5 hits
};

// *sums = (or +=) the sums over the rows whose label is >= 0: max + log(sum) - label_logit, and hits i32[R].
// The order of the sum is fixed: the same bits in every run.
void loss_sums(const CrossEntropyStatistics& statistics, ConstView hits, ConstView labels, Write write,
               LossSums* sums, const Stream& stream);

// to [heads] = the sums of parts [n, heads], added up in that order; not overlapping.
void add_losses(const LossSums* parts, int n, int heads, LossSums* to, const Stream& stream);

namespace cpu {
void add_losses(const LossSums* parts, int n, int heads, LossSums* to, const Stream& stream);
void loss_sums(const CrossEntropyStatistics& statistics, ConstView hits, ConstView labels, Write write,
               LossSums* sums, const Stream& stream);
}  // namespace cpu
namespace cuda {
void add_losses(const LossSums* parts, int n, int heads, LossSums* to, const Stream& stream);
void loss_sums(const CrossEntropyStatistics& statistics, ConstView hits, ConstView labels, Write write,
               LossSums* sums, const Stream& stream);
}  // namespace cuda

}  // namespace gorgon
