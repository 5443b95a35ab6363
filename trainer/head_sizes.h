#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset_file.h"
#include "model/model_config.h"
#include "trainer/console.h"
#include "trainer/run_config.h"

namespace gorgon {

// Error(config) where medusa_vocab or medusa_head_rank ask for more than the model has.
void check_head_sizes(const RunConfig& config, const ModelConfig& model);

// The tokens that heads can predict, ascending; empty = all. Says how many they are, and what share of the
// training targets they leave out.
std::vector<int32_t> vocabulary_of(const RunConfig& config, const Dataset& train, int64_t vocabulary,
                                   Console& console);

}  // namespace gorgon
