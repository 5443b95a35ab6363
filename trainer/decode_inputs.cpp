#include "trainer/decode_inputs.h"

#include <algorithm>

#include <fmt/format.h>

#include "data/data_files.h"
#include "kernels/error.h"
#include "model/tree_file.h"
#include "trainer/commands.h"

namespace gorgon {
namespace {

FoundHeads find(const std::filesystem::path& path, const std::filesystem::path& model, Console& console) {
  FoundHeads found = find_heads(path, console);
  if (!model.empty()) found.config.model_path = model.string();
  return found;
}

HeadStorage head_storage_of(const std::string& name, DType compute) {
  if (name.empty()) return compute == DType::bf16 ? HeadStorage::q8_0 : HeadStorage::full;
  return name == "q8_0" ? HeadStorage::q8_0 : HeadStorage::full;
}

}  // namespace

DecodeInputs::DecodeInputs(const std::filesystem::path& path, const std::filesystem::path& model,
                           const std::string& dtype, const std::string& heads_dtype, Console& console,
                           const StopSignal* stop, const RankGroup* ranks)
    : found(find(path, model, console)),
      compute(decode_type(dtype, found.config)),
      head_storage(head_storage_of(heads_dtype, compute)),
      stream(ranks == nullptr ? make_stream(found.config, stop) : make_stream(found.config, stop, *ranks)),
      weights(load_same_model(found, compute, WeightStorage::as_stored, stream)),
      text(found.config.model_path),
      backbone(weights, compute),
      heads(DraftHeads::load(found.file, weights.lm_head, compute, stream, head_storage)) {
  if (!found.is_export) return;
  found.config.max_seq_length =
      std::min<int64_t>(found.config.max_seq_length, weights.config.max_position_embeddings);
  const auto check = [&](const char* key, int says, int has) {
    if (says == has) return;
    console.warn(fmt::format("{}: {} is {}, but {} has {}: takes what the file has, an engine may not",
                             (found.directory / "config.json").string(), key, says,
                             found.file.filename().string(), has));
  };
  check("medusa_num_heads", found.config.heads.num_heads, heads.count());
  check("medusa_num_layers", found.config.heads.num_layers, heads.layers());
}

void require_readable(const std::vector<std::string>& data, const std::filesystem::path& tree) {
  constexpr int kAnyDepth = 64;
  if (!data.empty()) expand_data_files(data);
  if (!tree.empty()) read_tree(tree, kAnyDepth);
}

std::optional<Split> split_of_data(const RunConfig& config, const std::vector<std::string>& data,
                                   Split split) {
  if (!is_training_data(config, data)) return std::nullopt;
  return split;
}

PromptSet read_split(const DecodeInputs& inputs, const std::vector<std::string>& data, Split split,
                     int64_t limit, Console& console) {
  const ModelConfig& model = inputs.weights.config;
  PromptSet set = read_prompts(data, inputs.text, model.vocab_size, model.max_position_embeddings - 1,
                               inputs.found.config.columns);
  if (!set.left_out.empty()) console.warn(describe_left_out(set));
  if (split_of_data(inputs.found.config, data, split)) {
    const size_t all = set.prompts.size();
    std::erase_if(set.prompts, [&](const Prompt& prompt) { return split_of(prompt.text) != split; });
    console.info(fmt::format("the heads were trained on this file: takes the {} prompts of {} kept for {}",
                             set.prompts.size(), all, split == Split::test ? "tests" : "calibration"));
  }
  if (limit >= 0 && std::ssize(set.prompts) > limit) set.prompts.resize(static_cast<size_t>(limit));
  return set;
}

}  // namespace gorgon
