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

namespace cpu {
void loss_sums(const CrossEntropyStatistics& statistics, ConstView hits, ConstView labels, Write write,
               LossSums* sums, const Stream& stream);
}
namespace cuda {
void loss_sums(const CrossEntropyStatistics& statistics, ConstView hits, ConstView labels, Write write,
               LossSums* sums, const Stream& stream);
}

}  // namespace gorgon
