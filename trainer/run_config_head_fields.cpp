#include <cctype>

#include <fmt/format.h>

#include "trainer/config_field.h"

// The keys of the heads and their loss, as configs/README.md shows them.

namespace gorgon {
namespace {

using namespace config_field;

ConfigField lr_multiplier() {
  const std::string name = "medusa_lr_multiplier";
  return {name,
          {},
          "float or list of one per head, 0 to 1000",
          "factor of the learning rate of heads",
          true,
          [=](RunConfig& config, const YamlValue& value) {
            config.medusa_lr_multiplier.clear();
            if (value.kind != YamlValue::Kind::list) {
              config.medusa_lr_multiplier.push_back(config_float(value, name, 0, 1000));
              return;
            }
            for (const YamlValue& item : value.items) {
              config.medusa_lr_multiplier.push_back(config_float(item, name, 0, 1000));
            }
          },
          [](const RunConfig& config) {
            std::vector<std::string> items;
            for (const double factor : config.medusa_lr_multiplier) items.push_back(yaml_float(factor));
            return items.size() == 1 ? items[0] : fmt::format("[{}]", fmt::join(items, ", "));
          }};
}

ConfigField medusa_vocab() {
  const std::string name = "medusa_vocab";
  constexpr int64_t kManyTokens = 1 << 24;
  return {name,
          {},
          fmt::format("full, seen or int, 1 to {}", kManyTokens),
          "tokens that heads can predict; seen: the targets in the training data; N: those first, then by "
          "frequency in the data",
          true,
          [=](RunConfig& config, const YamlValue& value) {
            const bool is_word = value.is_scalar() && !value.text.empty() &&
                                 std::isalpha(static_cast<unsigned char>(value.text[0])) != 0;
            if (is_word) {
              const std::string word = config_choice(value, name, {"full", "seen"});
              config.heads.vocabulary = word == "full" ? kFullVocabulary : kSeenVocabulary;
            } else {
              config.heads.vocabulary = config_int(value, name, 1, kManyTokens);
            }
          },
          [](const RunConfig& config) {
            const int64_t choice = config.heads.vocabulary;
            if (choice == kFullVocabulary) return std::string("full");
            return choice == kSeenVocabulary ? std::string("seen") : fmt::format("{}", choice);
          }};
}

ConfigField train_only_medusa_heads() {
  const std::string name = "train_only_medusa_heads";
  return {name,
          {},
          "true",
          "the backbone stays frozen (Medusa-1); false is refused",
          true,
          [=](RunConfig&, const YamlValue& value) {
            if (config_bool(value, name)) return;
            config_fail(value, name, "true", "gorgon trains Medusa-1: the backbone stays as it is");
          },
          [](const RunConfig&) { return std::string("true"); }};
}

}  // namespace

void config_field::add_head_fields(std::vector<ConfigField>& f) {
  f.push_back(integer(
      {"medusa_num_heads", {}, "heads K; head k predicts the token k + 1 places ahead"}, 1, 32,
      [](auto& c) -> auto& { return c.heads.num_heads; }));
  f.push_back(integer(
      {"medusa_num_layers", {}, "ResBlocks per head L"}, 1, 16,
      [](auto& c) -> auto& { return c.heads.num_layers; }));
  f.push_back(choice<HeadLinear>(
      {"medusa_head_linear",
       {},
       "own: every head trains a Linear of its own over the vocabulary; shared: the frozen lm_head for all; "
       "lowrank: lm_head + B A, B and A trained"},
      {{"own", HeadLinear::own}, {"shared", HeadLinear::shared}, {"lowrank", HeadLinear::lowrank}},
      [](auto& c) -> auto& { return c.heads.linear; }));
  f.push_back(integer(
      {"medusa_head_rank", {}, "rank r of lowrank: B is [N, r], A [r, hidden size]"}, 1, 4096,
      [](auto& c) -> auto& { return c.heads.rank; }));
  f.push_back(medusa_vocab());
  f.push_back(number(
      {"medusa_heads_coefficient", {}, "factor of every head's loss"}, 0, 1000,
      [](auto& c) -> auto& { return c.loss.heads_coefficient; }));
  f.push_back(number(
      {"medusa_decay_coefficient", {}, "head k's loss counts times this to the power k"}, 0, 1000,
      [](auto& c) -> auto& { return c.loss.decay_coefficient; }));
  f.push_back(choice<MedusaScheduler>(
      {"medusa_scheduler", {}, "how the heads' loss grows over the run"},
      {{"constant", MedusaScheduler::constant},
       {"linear", MedusaScheduler::linear},
       {"sine", MedusaScheduler::sine}},
      [](auto& c) -> auto& { return c.loss.scheduler; }));
  f.push_back(lr_multiplier());
  f.push_back(train_only_medusa_heads());
}

}  // namespace gorgon
