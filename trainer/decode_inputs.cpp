#include "trainer/decode_inputs.h"

#include <fmt/format.h>

#include "data/data_files.h"
#include "kernels/error.h"
#include "trainer/commands.h"

namespace gorgon {
namespace {

FoundHeads find(const std::filesystem::path& path, const std::filesystem::path& model, Console& console) {
  FoundHeads found = find_heads(path, console);
  if (!model.empty()) found.config.model_path = model.string();
  return found;
}

// Whether a run was trained on these files; a run whose files have gone cannot say.
bool trained_on(const RunConfig& config, const PromptSet& set) {
  if (config.train_dataset_path.empty()) return false;
  try {
    return data_sha256(expand_data_files(config.train_dataset_path)) == set.sha256;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

DecodeInputs::DecodeInputs(const std::filesystem::path& path, const std::filesystem::path& model,
                           const std::string& dtype, Console& console, const StopSignal* stop)
    : found(find(path, model, console)),
      compute(decode_type(dtype, found.config)),
      stream(make_stream(found.config, stop)),
      weights(load_same_model(found, compute, WeightStorage::as_stored, stream)),
      text(found.config.model_path),
      backbone(weights, compute),
      heads(DraftHeads::load(found.file, weights.lm_head, compute, stream)) {}

PromptSet read_split(const DecodeInputs& inputs, const std::vector<std::string>& data, Split split,
                     int64_t limit, Console& console) {
  const ModelConfig& model = inputs.weights.config;
  PromptSet set = read_prompts(data, inputs.text, model.vocab_size, model.max_position_embeddings - 1);
  if (!set.left_out.empty()) console.warn(describe_left_out(set));
  if (trained_on(inputs.found.config, set)) {
    const size_t all = set.prompts.size();
    std::erase_if(set.prompts, [&](const Prompt& prompt) { return split_of(prompt.text) != split; });
    console.warn(
        fmt::format("the heads were trained on this file: takes the {} prompts of {} kept for {}; better "
                    "give a file that they have not seen",
                    set.prompts.size(), all, split == Split::test ? "tests" : "calibration"));
  }
  if (limit >= 0 && std::ssize(set.prompts) > limit) set.prompts.resize(static_cast<size_t>(limit));
  return set;
}

}  // namespace gorgon
