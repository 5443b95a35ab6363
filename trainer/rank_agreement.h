#pragma once

#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "data/tokenizer.h"
#include "kernels/error.h"
#include "kernels/ranks/rank_group.h"
#include "model/model_weights.h"
#include "trainer/run_config.h"

namespace gorgon {

constexpr double kPatience = 24 * 3600;  // seconds that the others wait while rank 0 prepares data

// What the ranks of a job must have in common, checked before the first step on all of them at once. Each
// throws an Error that names the rank, the key, and both values; where a job has one process, nothing is
// done.

// The program's version, and every key but those that say where things lie: Error(config).
void check_same_config(RankGroup& ranks, const RunConfig& config);
// Values by name, of what a command was asked to do: the name of the first that differs is told.
struct NamedValue {
  std::string name, value;
  bool may_be_missing = false;  // a rank whose value is empty has none, and agrees
};
void check_same(RankGroup& ranks, const std::vector<NamedValue>& mine, ExitCode code,
                const std::string& remedy);
// What the model computes with: its fingerprint, and what config.json says of its layers. Error(model).
void check_same_model(RankGroup& ranks, const ModelWeights& weights);
// What the model reads and says: its tokenizer and its chat template. Error(model).
void check_same_text(RankGroup& ranks, const Tokenizer& tokenizer);

// Fingerprints of data files (data_fingerprint). Only rank 0 reads data: another rank need not have any, but
// what it has under the names it was given must be the same. Error(data).
void check_same_data(RankGroup& ranks, const std::vector<NamedValue>& files);

// Rank 0's, to all: nothing but the model need lie on every machine.
void broadcast_dataset(RankGroup& ranks, Dataset& dataset);
// Token lists.
void broadcast_tokens(RankGroup& ranks, std::vector<std::vector<int32_t>>& lists);

}  // namespace gorgon
