#include "data/splits.h"

#include <unordered_set>

#include "data/file.h"

namespace gorgon {

Split split_of(std::string_view prompt) {
  int remainder = 0;
  for (const char digit : sha256_of(prompt)) {
    const int value = digit <= '9' ? digit - '0' : digit - 'a' + 10;
    remainder = (remainder * 16 + value) % 100;
  }
  if (remainder < 5) return Split::calibration;
  return remainder < 10 ? Split::test : Split::training;
}

PromptSplits split_prompts(const std::vector<std::string>& prompts) {
  PromptSplits splits;
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (!seen.insert(prompts[i]).second) {
      ++splits.duplicates;
      continue;
    }
    const Split split = split_of(prompts[i]);
    auto& numbers = split == Split::calibration ? splits.calibration
                    : split == Split::test      ? splits.test
                                                : splits.training;
    numbers.push_back(static_cast<int64_t>(i));
  }
  return splits;
}

}  // namespace gorgon
