#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gorgon {

// Three disjoint sets of prompts where the user gives no files of their own: by the SHA-256 of the prompt's
// text, read as one big-endian number, modulo 100.
enum class Split : uint8_t { calibration, test, training };  // 0-4, 5-9, 10-99
Split split_of(std::string_view prompt);

struct PromptSplits {
  std::vector<int64_t> calibration, test, training;  // numbers of prompts, ascending
  int64_t duplicates = 0;                            // prompts left out since an earlier one is the same
};
PromptSplits split_prompts(const std::vector<std::string>& prompts);

}  // namespace gorgon
