#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "trainer/answer_origin.h"
#include "trainer/commands.h"
#include "trainer/data_sets.h"
#include "trainer/distill.h"
#include "trainer/output_file.h"
#include "trainer/rank_agreement.h"
#include "trainer/run_config.h"
#include "trainer/run_stream.h"

namespace gorgon {
namespace {

// Everything that decides what is written, as JSON: who answers, the prompts, the draws.
std::string identity(const DistillArguments& arguments, const RunConfig& config, const ModelWeights& weights,
                     const TextModel& text, const PromptSet& set) {
  nlohmann::ordered_json json = answer_origin(weights.fingerprint, config, text);
  json["data_sha256"] = set.sha256;
  json["columns"] = config.columns;
  json["dtype"] = name(config.compute());
  json["max_new_tokens"] = arguments.max_new_tokens;
  json["temperature"] = arguments.temperature;
  json["top_p"] = arguments.top_p;
  json["seed"] = arguments.seed;
  json["version"] = GORGON_VERSION;
  return json.dump(2) + "\n";
}

// Read by rank 0: the others get what they need from it.
PromptSet read_all_prompts(const RunConfig& config, const TextModel& text, const ModelConfig& model,
                           RankGroup& ranks, Console& console) {
  PromptSet set;
  ranks.set_patience(kPatience);
  if (ranks.is_first()) {
    set = read_prompts(config.train_dataset_path, text, model.vocab_size, model.max_position_embeddings - 1,
                       config.columns);
    require_prompts(set, config.train_dataset_path.front());
    if (!set.left_out.empty()) console.warn(describe_left_out(set));
  }
  ranks.host().barrier("the prompts");
  ranks.set_deadline(static_cast<double>(config.ddp_timeout));
  return set;
}

DecoderOptions decoder_options(const DistillArguments& arguments, const TextModel& text) {
  DecoderOptions options;
  options.max_new_tokens = arguments.max_new_tokens;
  options.stop_tokens = stop_tokens(text);
  options.temperature = arguments.temperature;
  options.top_p = arguments.top_p;
  options.seed = arguments.seed;
  return options;
}

void check_same_arguments(const DistillArguments& arguments, RankGroup& ranks) {
  check_same(ranks,
             {{"--max-new-tokens", std::to_string(arguments.max_new_tokens)},
              {"--temperature", fmt::format("{}", arguments.temperature)},
              {"--top-p", fmt::format("{}", arguments.top_p)},
              {"--seed", std::to_string(arguments.seed)}},
             ExitCode::config, "start all ranks with the same arguments");
}

}  // namespace

int distill_command(const DistillArguments& arguments, Console& console, const StopSignal& stop,
                    RankGroup& ranks) {
  const LoadedConfig loaded = load_config(arguments.config, arguments.overrides);
  const RunConfig& config = loaded.config;
  check_model_path(config.model_path);
  ranks.set_step(-1);
  ranks.set_deadline(static_cast<double>(config.ddp_timeout));
  check_same_config(ranks, config);
  check_same_arguments(arguments, ranks);
  std::optional<FileLock> lock;
  if (ranks.is_first()) lock = lock_output(arguments.output);
  if (ranks.is_several()) console.place_rank_log(arguments.output.string() + ".logs", ranks.rank());
  const Stream stream = make_stream(config, &stop, ranks);
  const ModelWeights weights = load_model(config.model_path, config.compute(), stream,
                                          WeightStorage::as_stored, config.quantisation());
  const TextModel text(config.model_path);
  check_same_model(ranks, weights);
  check_same_text(ranks, text.tokenizer);
  if (ranks.is_several()) {
    ranks.set_patience(kPatience);
    check_same_data(ranks, {{"train_dataset_path", data_fingerprint(config.train_dataset_path), true}});
  }
  const PromptSet set = read_all_prompts(config, text, weights.config, ranks, console);
  DistillOptions options;
  options.decoder = decoder_options(arguments, text);
  options.identity = identity(arguments, config, weights, text, set);
  const Backbone backbone(weights, config.compute());
  RankShare share(ranks, [&stop] { return stop.requested(); });
  DistillOutcome outcome;
  {
    Progress progress(console, "distill", std::ssize(set.prompts));
    outcome =
        distill(backbone, set.prompts, text.tokenizer, options, arguments.output, stream, share, &progress);
  }
  if (!ranks.is_first()) return 0;
  fmt::print("{} {} ({})\n",
             outcome == DistillOutcome::complete ? "wrote" : "already complete:", arguments.output.string(),
             count_of(std::ssize(set.prompts), "row"));
  return 0;
}

}  // namespace gorgon
