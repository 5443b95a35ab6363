#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trainer/found_heads.h"
#include "trainer/prompts.h"

namespace gorgon {

// How many prompts of an evaluation something was fitted to before; unset where nothing is recorded of it.
struct SeenPrompts {
  int64_t prompts = 0;                // of the evaluation
  std::optional<int64_t> trained;     // that the heads were trained on
  std::optional<int64_t> calibrated;  // that the tree was chosen by
};

// By trained_prompts beside the heads and made_from.prompt_hashes of the tree (`tree`, else tree.json beside
// the heads). Error(data) where one of them is damaged.
SeenPrompts count_seen_prompts(const FoundHeads& found, const std::filesystem::path& tree,
                               const std::vector<Prompt>& prompts);

// SeenPrompts::trained alone: no tree is read.
std::optional<int64_t> count_trained(const FoundHeads& found, const std::vector<Prompt>& prompts);

// A line for each of the two that is above 0.
std::vector<std::string> describe(const SeenPrompts& seen);

}  // namespace gorgon
