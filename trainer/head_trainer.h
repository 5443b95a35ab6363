#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numbers>
#include <string>
#include <vector>

#include "model/medusa_heads.h"
#include "model/state_rows.h"
#include "optim/options.h"
#include "trainer/head_ranks.h"

namespace gorgon {

enum class MedusaScheduler { constant, linear, sine };

struct LossOptions {
  double heads_coefficient = 0.1;
  double decay_coefficient = 1.0;
  MedusaScheduler scheduler = MedusaScheduler::constant;
};

struct HeadTrainerOptions {
  MedusaOptions heads;
  LossOptions loss;
  OptimizerOptions optimizer;
  LrOptions lr;
  std::vector<double> lr_multiplier;  // [K]
  int64_t max_steps = 0;              // the resolved total
  uint64_t seed = 42;                 // of stochastic rounding, and of A of low rank
  std::vector<int32_t> vocab_ids;     // ascending: the tokens that heads know; empty = all
  double gradient_filter = 0;         // HeadPassShape::gradient_filter; 0 = off
  // Rows of a head at a time, at most; a multiple of 64. 0 = default_chunk_rows().
  int64_t chunk_rows = 0;
};

// A CPU's caches hold little. On a GPU every further chunk reads and writes the f32 sums of the Linear's
// gradient (8 bytes a weight, against 6 operations a weight and row): 4,096 rows make that a small part of
// the step, and a step of the reference recipe one chunk, which needs no such sums.
constexpr int64_t default_chunk_rows(DeviceKind device) {
  return device == DeviceKind::cuda ? 4096 : 1024;
}

// Factor of head k's (from 0) mean cross-entropy in step s (from 1): coefficient * decay^(k + 1) *
// schedule(s), schedule = 1, s / max_steps or sin(pi/2 s / max_steps).
inline double head_weight(const LossOptions& options, int k, int64_t s, int64_t max_steps) {
  const double done = static_cast<double>(s) / static_cast<double>(std::max<int64_t>(max_steps, 1));
  double schedule = 1.0;
  if (options.scheduler == MedusaScheduler::linear) schedule = done;
  if (options.scheduler == MedusaScheduler::sine) schedule = std::sin(std::numbers::pi / 2.0 * done);
  return options.heads_coefficient * std::pow(options.decay_coefficient, k + 1) * schedule;
}

// Sums over rows of one head. Means of losses are over `targets`; accuracies over `targets` + `outside`,
// since a token that the heads do not know is always a miss.
struct HeadMetrics {
  double cross_entropy = 0;  // sum over supervised targets
  int64_t targets = 0;       // N_k: those that the heads' vocabulary holds
  int64_t top[5] = {};       // rows whose label is among the first 1..5
  int64_t outside = 0;       // targets that the vocabulary does not hold: no loss, no gradient

  HeadMetrics& operator+=(const HeadMetrics& other) {
    cross_entropy += other.cross_entropy;
    targets += other.targets;
    outside += other.outside;
    for (int n = 0; n < 5; ++n) top[n] += other.top[n];
    return *this;
  }
};

struct StepResult {
  double loss = 0;  // with coefficients
  std::vector<HeadMetrics> heads;
  double grad_norm = 0;   // before clipping
  double lr = 0;          // without multiplier
  bool skipped = false;   // non-finite loss or norm: weights and moments untouched
  int skipped_head = -1;  // the first head whose loss or gradient was not finite
};

// Trains the heads on one table of rows per optimizer step: forward, fused cross-entropy, gradients,
// clipping, AdamW. One heads pass per step; logits exist for one head and one chunk of rows at a time. Rows
// without a target for the head at work are left out before anything is computed. Chunks are as equal as
// multiples of 64 allow, the last padded with rows of no target. The same rows give the same bits for any
// number of threads; other chunk_rows agree to rounding. Gradients and optimizer states come into being with
// the first step or the first look at the optimizer's state: evaluation alone never pays for them.
class HeadTrainer {
 public:
  // type: bf16 or f32, of weights, states and gradients. lm_head is the start of every Linear
  // (MedusaHeads::initialise).
  // ranks: of a job whose processes train the same heads; every rank makes the same calls. N_k, gradients and
  // metrics are those of all ranks' rows, and every rank takes the same step, to the bit.
  //   replicate: every rank has rows of its own and all weights; the gradients of one head are summed while
  //     the next head computes, each rank updates a part of every parameter, of which it alone holds the
  //     optimizer states (UpdatedPart of trainer/head_ranks.h), and has the other parts of the weights from
  //     the other ranks before the next step's heads compute.
  //   divided: every rank passes the rows of all ranks, in step() and in evaluate(), and holds its part of
  //     every head (model/head_shard.h), of its gradients and of its optimizer states.
  HeadTrainer(const HeadTrainerOptions& options, const WeightMatrix& lm_head, DType type,
              const Stream& stream, const HeadRanks& ranks = {});
  ~HeadTrainer();

  // Optimizer step s (from 1) on rows; N_k is counted from rows.targets. A table without rows is a step with
  // gradients of zero. Its stop points lie before the update: after Stopped, heads and optimizer are those of
  // the step before. Throws Error(internal) for a target outside the vocabulary.
  StepResult step(const StateRows& rows, int64_t s) {
    begin(rows, s);
    return finish();
  }
  // The two halves of step(): all work is asked for, then the result is waited for. A second step may begin
  // before the first is finished, so that a GPU never waits for the host; not a third one. Everything else of
  // the trainer needs all steps finished.
  void begin(const StateRows& rows, int64_t s);
  StepResult finish();  // of the oldest step begun
  // replicate: asks for the weights that other ranks have updated in the step that was begun last, if nobody
  // has; what comes next, such as the next step's rows, is computed meanwhile. begin() does it too.
  void start_weights();
  // The same, and waits for them: before anything but begin() uses the heads. Every rank calls it.
  void finish_weights();

  // Loss sums and hits without gradients; adds to `sums` [K].
  void evaluate(const StateRows& rows, std::vector<HeadMetrics>& sums);

  // Error(internal) for heads() and evaluate() where weights of other ranks are still to come.
  MedusaHeads& heads();
  const HeadRanks& ranks() const;
  int64_t adam_steps() const;  // t of the moments: steps taken and not skipped
  void set_adam_steps(int64_t t);
  // Every tensor of the optimizer ("optimizer.0.1.weight.momentum", ...), for checkpoints; loading copies
  // into the views.
  std::vector<NamedState> optimizer_state();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gorgon
