#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "model/backbone.h"
#include "trainer/head_trainer.h"
#include "trainer/rank_share.h"

namespace gorgon {

// Σ_k coefficient · decay^k · mean_k over heads k = 1..K; a head without targets adds nothing.
double combined_loss(const LossOptions& loss, const std::vector<HeadMetrics>& heads);

struct Evaluation {
  double loss = 0;  // schedule 1, means over the whole data set
  std::vector<HeadMetrics> heads;
  int64_t positions = 0;  // with a supervised target of any head
  // The chain's tau on the model's own answers, where it was asked for and the file has prompts.
  std::optional<double> accept_length;
  int64_t prompts = 0;  // that it is measured on
};

struct EvaluationOptions {
  int num_heads = 0;
  int64_t batch = 8;   // sequences at a time
  int64_t limit = -1;  // sequences in all; -1 = every one
  LossOptions loss;
};

// Loss and hits of every head over a data set, batch by batch; `share` divides the batches over its ranks,
// which all hold the same trainer's heads, and every rank gets the whole: the same numbers for any number of
// ranks. Of heads that are divided over the ranks (trainer.ranks()), all ranks work on every batch, and the
// numbers agree to rounding. `progress(done)` counts sequences.
Evaluation evaluate_dataset(HeadTrainer& trainer, const Backbone& backbone, const Dataset& dataset,
                            const EvaluationOptions& options, const Stream& stream, RankShare& share,
                            const std::function<void(int64_t)>& progress = {});

// The sequences of batch b of `batch` sequences each, of the first `total`.
Sequences sequences_of_batch(const Dataset& dataset, int64_t b, int64_t batch, int64_t total);

// Loss, top-1..5 and number of targets per head, and the accepted length where there is one, for a terminal.
std::string evaluation_table(const std::string& data, const Evaluation& evaluation);

}  // namespace gorgon
