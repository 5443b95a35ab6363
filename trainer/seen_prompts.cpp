#include "trainer/seen_prompts.h"

#include <algorithm>

#include <fmt/format.h>

#include "data/prompt_hashes.h"
#include "model/tree_file.h"
#include "trainer/run_directory.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

int64_t count_in(const PromptHashes& known, const std::vector<Prompt>& prompts) {
  return std::count_if(prompts.begin(), prompts.end(),
                       [&](const Prompt& prompt) { return known.contains(prompt.text); });
}

}  // namespace

std::optional<int64_t> count_trained(const FoundHeads& found, const std::vector<Prompt>& prompts) {
  const fs::path file = found.directory / kTrainedPrompts;
  if (!fs::exists(file)) return std::nullopt;
  return count_in(PromptHashes::read(file), prompts);
}

SeenPrompts count_seen_prompts(const FoundHeads& found, const fs::path& tree,
                               const std::vector<Prompt>& prompts) {
  constexpr int kAnyDepth = 64;
  SeenPrompts seen;
  seen.prompts = std::ssize(prompts);
  seen.trained = count_trained(found, prompts);
  const fs::path tree_file = tree.empty() ? found.directory / kTreeFile : tree;
  if (!fs::exists(tree_file)) return seen;
  const Json made_from = read_tree(tree_file, kAnyDepth).made_from;
  if (!made_from.is_object()) return seen;
  const auto hashes = made_from.find("prompt_hashes");
  if (hashes == made_from.end() || !hashes->is_string()) return seen;
  const std::string place = tree_file.string() + ": made_from.prompt_hashes";
  seen.calibrated = count_in(PromptHashes::parse_hex(hashes->get<std::string>(), place), prompts);
  return seen;
}

std::vector<std::string> describe(const SeenPrompts& seen) {
  std::vector<std::string> lines;
  if (seen.trained.value_or(0) > 0) {
    lines.push_back(
        fmt::format("{} of {} prompts were trained on: figures flatter", *seen.trained, seen.prompts));
  }
  if (seen.calibrated.value_or(0) > 0) {
    lines.push_back(fmt::format("{} of {} prompts are those that the tree was chosen by: figures flatter",
                                *seen.calibrated, seen.prompts));
  }
  return lines;
}

}  // namespace gorgon
