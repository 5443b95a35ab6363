#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "kernels/dtype.h"
#include "model/medusa_options.h"
#include "trainer/run_config.h"

namespace gorgon {

// What the traffic of a training step depends on, beside its rows.
struct HeadShapes {
  MedusaOptions heads;
  int64_t hidden = 0, outputs = 0;  // H and N
  DType type = DType::bf16;         // T, s bytes an element

  int64_t parameters() const;     // tensors
  int64_t trained_bytes() const;  // of all heads: weights, or gradients, as they travel
};

// Bytes that n ranks receive together in one training step; a rank receives an n-th of it. Of
//   replicate: parameter_gradients = weights = (n-1) times the bytes of all heads: each rank gets its part of
//     the gradients of every rank, and of the weights the parts that the others have updated
//   vocab, of Q states and R rows of all heads together (padded to 64 in every head):
//     states = (n-1) Q H s;  features = L (n-1) R H s;  feature_gradients = L (n-1) R H 4
//     parameter_gradients: biases (n-1) K L H s, A of low rank 2 (n-1) K r H s
//     statistics: n (n-1) 12 R of max, sum and label logit, 2 (n-1) 4 R of hits
//   and in either mode the few numbers that decide on the step (`decisions`).
struct StepTraffic {
  int64_t states = 0, features = 0, feature_gradients = 0, parameter_gradients = 0, weights = 0,
          statistics = 0, decisions = 0;
  int64_t total() const {
    return states + features + feature_gradients + parameter_gradients + weights + statistics + decisions;
  }
};
StepTraffic replicate_traffic(const HeadShapes& shapes, int n);
// rows: R.
StepTraffic vocab_traffic(const HeadShapes& shapes, int64_t states, int64_t rows, int n);

// What a step has to train on, over all ranks.
struct StepRows {
  int64_t states = 0;  // Q
  int64_t rows = 0;    // R, of all heads together
};
// Where every token of `tokens` is supervised: more there cannot be.
StepRows all_supervised(int64_t tokens, int num_heads);
// The mean step of an epoch of `steps`, by the labels of the data; what a pruned vocabulary leaves out
// counts.
StepRows mean_step(const Dataset& dataset, int num_heads, int64_t steps);

// parallel_heads: auto: the mode that receives fewer bytes in such a step, and vocab where whole heads do not
// fit.
ParallelHeads choose_parallel_heads(const HeadShapes& shapes, const StepRows& step, bool whole_heads_fit,
                                    int n);

// The mode of a run: what the config says, or the choice with its reason.
struct ParallelChoice {
  ParallelHeads mode = ParallelHeads::replicate;
  std::string reason;  // one line; empty where the config says it
};
// whole_heads_fit: on every rank.
ParallelChoice resolve_parallel_heads(ParallelHeads wanted, const HeadShapes& shapes, const StepRows& step,
                                      bool whole_heads_fit, int n);

}  // namespace gorgon
