#pragma once

#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "kernels/ranks/rank_group.h"
#include "trainer/head_trainer.h"
#include "trainer/run_config.h"

namespace gorgon {

// What the ranks of a job must have in common, checked before the first step on all of them at once. Each
// throws an Error that names the rank, the key, and both values; where a job has one process, nothing is
// done.

// The program's version, and every key but those that say where things lie: Error(config).
void check_same_config(RankGroup& ranks, const RunConfig& config);
// The fingerprint of the model: Error(model).
void check_same_model(RankGroup& ranks, const std::string& fingerprint);

// Rank 0's, to all: only rank 0 reads data and checkpoints, so that nothing but the model need lie on every
// machine.
void broadcast_dataset(RankGroup& ranks, Dataset& dataset);
void broadcast_states(RankGroup& ranks, const std::vector<HeadTrainer::NamedState>& states,
                      const Stream& stream);

}  // namespace gorgon
