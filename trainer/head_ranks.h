#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/communicator.h"
#include "kernels/loss_sums.h"
#include "model/medusa_heads.h"

namespace gorgon {

// The processes that train the same heads together, and how (parallel_heads).
struct HeadRanks {
  Communicator* host = nullptr;    // of host memory; nullptr: one process, alone
  Communicator* device = nullptr;  // of the trainer's device; on a CPU the same
  bool divided = false;            // vocab: every head is divided over the ranks; else replicate

  bool is_several() const { return host != nullptr && host->size() > 1; }
};

// A tensor of heads or optimizer, or this rank's part of it.
struct NamedState {
  std::string name;
  View view;
  Shape whole;                  // of all parts together
  std::vector<int64_t> counts;  // [n] elements of every rank's part; empty = whole here

  bool is_divided() const { return !counts.empty(); }
};

// What the ranks of a job exchange in a training step beside the work on one head (model/head_exchange.h).
// Alone it does nothing. Gradients are summed, or gathered, while the caller computes.
class GradientExchange {
 public:
  GradientExchange(const HeadRanks& ranks, const MedusaHeads& heads, const Stream& stream);

  // Sums over ranks whose rows are their own (replicate).
  void sum_counts(std::vector<int64_t>& counts) const;
  // Behind the gradient T[parameter's shape] of one parameter. A bias of divided heads has this rank's part
  // in its place, A of low rank its share of the sum.
  void start(const NamedParameter& parameter, View gradient);
  // Gradients are those of all ranks when it returns; losses [K] of device memory as well.
  void finish(LossSums* losses, int heads);
  // Squares f32[parameters] of this rank's gradients become those of whole tensors.
  void sum_squares(const std::vector<NamedParameter>& parameters, View squares) const;

 private:
  HeadRanks ranks_;
  std::vector<int64_t> bias_bounds_;
  const Stream& stream_;
  std::vector<Pending> pending_;
  Tensor losses_;  // u8: LossSums[n, K]
};

// Every state of all ranks in the same order: rank 0 hands out the bytes of whole tensors as they come (the
// others pass none), or gets them back (every rank holds the result until the next call). One whole tensor is
// in memory at a time; nothing is sent for what is whole everywhere already.
class StateExchange {
 public:
  StateExchange(const HeadRanks& ranks, const Stream& stream) : ranks_(ranks), stream_(stream) {}
  void spread(const NamedState& state, const std::byte* bytes);
  ConstView gather(const NamedState& state);

 private:
  HeadRanks ranks_;
  const Stream& stream_;
  Tensor whole_;
};

}  // namespace gorgon
