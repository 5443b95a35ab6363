#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "trainer/commands.h"
#include "trainer/distill.h"
#include "trainer/run_config.h"
#include "trainer/run_stream.h"

namespace gorgon {
namespace {

// Everything that decides what is written, as JSON: the model, the prompts, the draws.
std::string identity(const DistillArguments& arguments, const RunConfig& config, const ModelWeights& weights,
                     const PromptSet& set) {
  nlohmann::ordered_json json;
  json["model_fingerprint"] = weights.fingerprint;
  json["data_sha256"] = set.sha256;
  json["dtype"] = name(config.compute());
  json["max_new_tokens"] = arguments.max_new_tokens;
  json["temperature"] = arguments.temperature;
  json["top_p"] = arguments.top_p;
  json["seed"] = arguments.seed;
  json["version"] = GORGON_VERSION;
  return json.dump(2) + "\n";
}

}  // namespace

int distill_command(const DistillArguments& arguments, Console& console, const StopSignal& stop) {
  const LoadedConfig loaded = load_config(arguments.config, arguments.overrides);
  const RunConfig& config = loaded.config;
  check_model_path(config.model_path);
  const Stream stream = make_stream(config, &stop);
  const ModelWeights weights = load_model(config.model_path, config.compute(), stream,
                                          WeightStorage::as_stored, config.quantisation());
  const TextModel text(config.model_path);
  const PromptSet set = read_prompts(config.train_dataset_path, text, weights.config.vocab_size,
                                     weights.config.max_position_embeddings - 1, config.columns);
  require_prompts(set, config.train_dataset_path.front());
  if (!set.left_out.empty()) console.warn(describe_left_out(set));

  DistillOptions options;
  options.decoder.max_new_tokens = arguments.max_new_tokens;
  options.decoder.stop_tokens = stop_tokens(text);
  options.decoder.temperature = arguments.temperature;
  options.decoder.top_p = arguments.top_p;
  options.decoder.seed = arguments.seed;
  options.identity = identity(arguments, config, weights, set);
  const Backbone backbone(weights, config.compute());
  DistillOutcome outcome;
  {
    Progress progress(console, "distill", std::ssize(set.prompts));
    outcome = distill(backbone, set.prompts, text.tokenizer, options, arguments.output, stream,
                      [&](int64_t done) { progress.update(done, ""); });
  }
  fmt::print("{} {} ({} rows)\n",
             outcome == DistillOutcome::complete ? "wrote" : "already complete:", arguments.output.string(),
             set.prompts.size());
  return 0;
}

}  // namespace gorgon
