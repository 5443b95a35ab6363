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
#include "trainer/found_heads.h"
#include "trainer/heads_file.h"
#include "trainer/reports.h"
#include "trainer/run_config.h"
#include "trainer/training_run.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

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

}  // namespace

int eval_command(const EvalArguments& arguments, Console& console) {
  FoundHeads found = find_heads(arguments.run, console);
  RunConfig& config = found.config;
  if (!arguments.model.empty()) config.model_path = arguments.model.string();
  const Stream stream(parse_device(config.device));
  const ModelWeights weights = load_same_model(found, config.compute(), stream);
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
