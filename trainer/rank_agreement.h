#pragma once

#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "kernels/error.h"
#include "kernels/ranks/rank_group.h"
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
};
void check_same(RankGroup& ranks, const std::vector<NamedValue>& mine, ExitCode code,
                const std::string& remedy);
// The fingerprint of the model: Error(model).
void check_same_model(RankGroup& ranks, const std::string& fingerprint);

// Rank 0's, to all: only rank 0 reads data, so that nothing but the model need lie on every machine.
void broadcast_dataset(RankGroup& ranks, Dataset& dataset);
// Token lists.
void broadcast_tokens(RankGroup& ranks, std::vector<std::vector<int32_t>>& lists);

}  // namespace gorgon
