#pragma once

#include "kernels/communicator.h"
#include "kernels/vocabulary_cross_entropy.h"
#include "model/head_shard.h"

namespace gorgon {

// What the ranks of a shard tell one another while one head works on a chunk of R rows that all of them hold:
// every rank calls the same functions with the same R. T = bf16 or f32.
class HeadExchange {
 public:
  // For at most `rows` rows. The communicator, of the device, must outlive it.
  HeadExchange(const HeadShard& shard, Communicator& ranks, int64_t rows, DType type, Device device);
  static int64_t workspace_bytes(const HeadShard& shard, int64_t rows, DType type);

  const HeadShard& shard() const { return shard_; }

  // x T[R, H] = every rank's columns; own T[R, H_r] are those of this one, contiguous.
  void gather_columns(ConstView own, View x, const Stream& stream);
  // own f32[R, H_r], contiguous = this rank's columns of the sum over ranks of dx f32[R, H].
  void sum_columns(ConstView dx, View own, const Stream& stream);
  // f32[3 R], contiguous: max, sum and label_logit of the own range, which become those of the whole rows.
  void merge(View statistics, const Stream& stream);
  // i32[R], in place; under way when it returns.
  Pending sum_hits(View hits, const Stream& stream);

 private:
  HeadShard shard_;
  Communicator& ranks_;
  Tensor features_;    // T[rows * H], one rank's columns behind the other's
  Tensor gradients_;   // the same in f32
  Tensor statistics_;  // f32[n * 3 * rows]
};

}  // namespace gorgon
