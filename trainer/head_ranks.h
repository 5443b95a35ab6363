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

// What each rank updates of one parameter, and holds the optimizer states of: of divided heads what it has of
// them; of heads that are whole on every rank a part of the elements (the sharding of optimizer states of
// Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", 2020), cut
// where blocks of 8-bit states begin: states and stochastic rounding are those of the whole parameter.
struct UpdatedPart {
  std::vector<int64_t> bounds;  // [n + 1] elements of the whole parameter; empty = every rank updates all
  int rank = 0;
  int64_t elements = 0;    // of the whole parameter
  bool is_within = false;  // the parameter is whole here, the part lies within it

  int64_t begin() const { return bounds.empty() ? 0 : bounds[static_cast<size_t>(rank)]; }
  // This rank's part of the parameter as it is held here, or of its gradient: T[elements], contiguous.
  View of(View held) const;
};
UpdatedPart updated_part(const NamedParameter& parameter, const HeadRanks& ranks);

// What the ranks of a job exchange in a training step beside the work on one head (model/head_exchange.h).
// Alone it does nothing. Gradients are summed, or gathered, while the caller computes; weights are gathered
// while it does whatever else needs none of them.
class GradientExchange {
 public:
  // Parameters of `heads`; must outlive it.
  GradientExchange(const HeadRanks& ranks, const MedusaHeads& heads,
                   const std::vector<NamedParameter>& parameters, const Stream& stream);

  const UpdatedPart& part(size_t i) const { return parts_[i]; }  // of parameter i

  // Sums over ranks whose rows are their own (replicate).
  void sum_counts(std::vector<int64_t>& counts) const;
  // Behind the gradient T[parameter's shape] of parameter i: the rank's part of it becomes that of all ranks,
  // the rest stays as it is. A bias of divided heads has this rank's part in its place and becomes whole, A
  // of low rank has its share of the sum.
  void start(size_t i, View gradient);
  // The parts are those of all ranks when it returns; losses [K] of device memory as well.
  void finish(LossSums* losses, int heads);
  // Squares f32[parameters] of the parts become those of whole tensors, with the same bits on all ranks.
  void sum_squares(View squares) const;

  // Behind an update. replicate: what each rank has updated is to come to all of them.
  void updated() { weights_at_ = is_replicate() ? Weights::to_ask_for : Weights::here; }
  // Asks for it, where it is not asked for yet.
  void start_weights();
  // Weights are whole when it returns, for the host too: a host that goes on to wait for another one leaves
  // nothing undone on its device that the other's may wait for.
  void finish_weights();
  bool has_weights() const { return weights_at_ == Weights::here; }

 private:
  bool is_replicate() const { return ranks_.is_several() && !ranks_.divided; }

  HeadRanks ranks_;
  const std::vector<NamedParameter>& parameters_;
  std::vector<UpdatedPart> parts_;
  std::vector<int64_t> bias_bounds_;
  const Stream& stream_;
  std::vector<Pending> pending_;
  enum class Weights : uint8_t { to_ask_for, asked_for, here } weights_at_ = Weights::here;
  std::vector<Pending> weights_;  // asked for
  Tensor losses_;                 // u8: LossSums[n, K]
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
