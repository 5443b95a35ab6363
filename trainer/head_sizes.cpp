#include "trainer/head_sizes.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace gorgon {

void check_head_sizes(const RunConfig& config, const ModelConfig& model) {
  if (config.heads.vocabulary > model.vocab_size) {
    fail(ExitCode::config,
         {config.model_path, "medusa_vocab", fmt::format("at most the model's {} tokens", model.vocab_size),
          std::to_string(config.heads.vocabulary), "full takes all of them"});
  }
  if (config.heads.linear != HeadLinear::lowrank || config.heads.rank <= model.hidden_size) return;
  fail(ExitCode::config, {config.model_path, "medusa_head_rank",
                          fmt::format("at most the model's hidden size of {}", model.hidden_size),
                          std::to_string(config.heads.rank), "medusa_head_linear: own is a full rank"});
}

std::vector<int32_t> vocabulary_of(const RunConfig& config, const Dataset& train, int64_t vocabulary,
                                   Console& console) {
  if (config.heads.vocabulary == kFullVocabulary) return {};
  const TokenCounts counts = count_tokens(train.tokens, train.labels, train.offsets, vocabulary);
  std::vector<int32_t> ids = choose_vocabulary(config.heads.vocabulary, counts);
  int64_t all = 0, inside = 0;
  for (const int64_t count : counts.as_target) all += count;
  for (const int32_t id : ids) inside += counts.as_target[static_cast<size_t>(id)];
  if (ids.empty()) inside = all;
  console.info(
      fmt::format("medusa_vocab: {} of {} tokens, {:.2f}% of the training targets outside",
                  ids.empty() ? vocabulary : std::ssize(ids), vocabulary,
                  all == 0 ? 0 : 100 * static_cast<double>(all - inside) / static_cast<double>(all)));
  return ids;
}

}  // namespace gorgon
