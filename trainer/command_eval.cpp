#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/file.h"
#include "data/safetensors.h"
#include "kernels/error.h"
#include "kernels/thread_pool.h"
#include "trainer/checkpoint.h"
#include "trainer/commands.h"
#include "trainer/data_sets.h"
#include "trainer/evaluation.h"
#include "trainer/heads_file.h"
#include "trainer/reports.h"
#include "trainer/run_config.h"
#include "trainer/training_run.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

// Trained heads and the config they were trained with.
struct FoundHeads {
  fs::path file;
  RunConfig config;
};

FoundHeads heads_of_checkpoint(const fs::path& checkpoint) {
  verify_checkpoint(checkpoint);
  const TrainingState state = load_training_state(checkpoint);
  return {checkpoint / kHeadsFile,
          parse_config(state.config, (checkpoint / "state.json").string(), {}).config};
}

// The finished heads of a run, else those of its newest checkpoint; or those of the checkpoint itself.
FoundHeads find_heads(const fs::path& path, Console& console) {
  if (fs::exists(path / "manifest.json")) return heads_of_checkpoint(path);
  if (fs::exists(path / kHeadsFile) && fs::exists(path / "config.yaml")) {
    return {path / kHeadsFile, load_config(path / "config.yaml", {}).config};
  }
  const fs::path newest = newest_checkpoint(path, [&](const std::string& text) { console.warn(text); });
  if (newest.empty()) {
    fail(ExitCode::checkpoint,
         {path.string(), "", "a run directory or a checkpoint",
          fs::exists(path) ? "neither" : "nothing there", "gorgon train CONFIG makes one"});
  }
  console.info("the run is not finished; evaluates " + newest.string());
  return heads_of_checkpoint(newest);
}

std::string evaluation_json(const EvalArguments& arguments, const FoundHeads& found,
                            const Evaluation& evaluation, const ModelWeights& weights,
                            const Dataset& dataset) {
  nlohmann::ordered_json json;
  json["loss"] = evaluation.loss;
  json["heads"] = nlohmann::ordered_json::array();
  for (const HeadMetrics& head : evaluation.heads) {
    nlohmann::ordered_json entry;
    entry["ce"] = mean_cross_entropy(head);
    for (int n = 1; n <= 5; ++n) entry["top" + std::to_string(n)] = top_accuracy(head, n);
    entry["count"] = head.targets;
    json["heads"].push_back(entry);
  }
  json["tokens"] = evaluation.tokens;
  json["data"] = arguments.data;
  json["heads_file"] = found.file.string();
  json["version"] = GORGON_VERSION;
  json["model_fingerprint"] = weights.fingerprint;
  json["data_fingerprint"] = content_fingerprint(dataset);
  json["heads_sha256"] = sha256_of_file(found.file, ExitCode::checkpoint);
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

// The run's model, or the one given; Error(checkpoint) when the heads were trained for another.
ModelWeights load_same_model(const RunConfig& config, const FoundHeads& found, const Stream& stream) {
  check_model_path(config.model_path);
  ModelWeights weights = load_model(config.model_path, config.compute(), stream);
  const MappedFile file(found.file, ExitCode::checkpoint);
  const auto metadata = parse_safetensors(file.bytes(), found.file.string(), ExitCode::checkpoint).metadata;
  const auto trained_for = metadata.find("model_fingerprint");
  if (trained_for != metadata.end() && trained_for->second != weights.fingerprint) {
    fail(ExitCode::checkpoint,
         {found.file.string(), "model", "heads of " + weights.fingerprint, "heads of " + trained_for->second,
          "give the model they were trained for: --model"});
  }
  return weights;
}

}  // namespace

int eval_command(const EvalArguments& arguments, Console& console) {
  FoundHeads found = find_heads(arguments.run, console);
  RunConfig& config = found.config;
  if (!arguments.model.empty()) config.model_path = arguments.model.string();
  const Stream stream(parse_device(config.device));
  const ModelWeights weights = load_same_model(config, found, stream);
  const TextModel text(config.model_path);
  const PreparedDataset prepared = prepare(prepare_options(config, arguments.data), text.tokenizer,
                                           text.chat_template(), stream.threads());
  check_token_range(prepared.dataset, weights.config.vocab_size, arguments.data.front());

  const Backbone backbone(weights, config.compute());
  HeadTrainer trainer(head_trainer_options(config, 1), weights.lm_head, config.compute(), stream);
  load_heads(found.file, trainer.heads());
  EvaluationOptions options{config.heads.num_heads, config.per_device_eval_batch_size, arguments.limit,
                            config.loss};
  Evaluation evaluation;
  {
    Progress progress(console, "eval", prepared.dataset.sequences());
    evaluation = evaluate_dataset(trainer, backbone, prepared.dataset, options, stream,
                                  [&](int64_t done, int64_t) { progress.update(done, ""); });
  }
  fmt::print("{}", evaluation_table(fmt::format("{}", fmt::join(arguments.data, " ")), evaluation));
  if (!arguments.output.empty()) {
    write_atomically(arguments.output,
                     evaluation_json(arguments, found, evaluation, weights, prepared.dataset));
  }
  return 0;
}

}  // namespace gorgon
