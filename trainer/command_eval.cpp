#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/file.h"
#include "kernels/error.h"
#include "kernels/thread_pool.h"
#include "model/tree_file.h"
#include "trainer/commands.h"
#include "trainer/decode_inputs.h"
#include "trainer/eval_report.h"
#include "trainer/eval_verdict.h"
#include "trainer/label_evaluation.h"
#include "trainer/output_file.h"
#include "trainer/rank_agreement.h"
#include "trainer/report_page.h"
#include "trainer/run_directory.h"
#include "trainer/seen_prompts.h"

namespace gorgon {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::vector<double> loss_weights(const LossOptions& loss, int heads) {
  std::vector<double> weights;
  double decay = 1;
  for (int k = 0; k < heads; ++k)
    weights.push_back(loss.heads_coefficient * (decay *= loss.decay_coefficient));
  return weights;
}

// Against the data's labels, which may be another model's words. Rank 0 reads the data. Where there are
// prompts to decode there need not be any labels: then all counts are 0.
std::vector<HeadSums> label_sums(const DecodeInputs& inputs, const EvalArguments& arguments,
                                 const PromptSet& set, RankShare& share, Console& console) {
  const RunConfig& config = inputs.found.config;
  Dataset dataset;
  share.ranks().set_patience(kPatience);
  if (share.ranks().is_first()) {
    if (inputs.found.is_export && !inputs.found.has_run_keys) {
      console.info(fmt::format(
          "{} says nothing of its run: labels are made with the default keys (max_seq_length {}, packing, "
          "answers alone of chats), and the heads' losses are weighted with them",
          inputs.found.file.string(), config.max_seq_length));
    }
    PrepareOptions options =
        prepare_options(config, arguments.data, split_of_data(config, arguments.data, Split::test));
    options.may_be_unsupervised = !set.prompts.empty();
    PreparedDataset prepared = prepare_rows(options, inputs.text, inputs.stream, console);
    check_token_range(prepared.dataset, inputs.weights.config.vocab_size, arguments.data.front());
    dataset = std::move(prepared.dataset);
  }
  broadcast_dataset(share.ranks(), dataset);
  share.ranks().set_deadline(static_cast<double>(config.ddp_timeout));
  if (dataset.sequences() == 0) return std::vector<HeadSums>(static_cast<size_t>(inputs.heads.count()));
  return evaluate_labels(inputs, dataset, arguments.limit, share, console);
}

// Rank 0 reads them; the others need their tokens alone.
PromptSet prompts_of(const DecodeInputs& inputs, const EvalArguments& arguments, RankGroup& ranks,
                     Console& console) {
  PromptSet set;
  std::vector<std::vector<int32_t>> tokens;
  if (ranks.is_first()) {
    set = read_split(inputs, arguments.data, Split::test, arguments.limit, console);
    for (const Prompt& prompt : set.prompts) tokens.push_back(prompt.tokens);
  }
  broadcast_tokens(ranks, tokens);
  set.prompts.resize(tokens.size());
  for (size_t p = 0; p < tokens.size(); ++p) set.prompts[p].tokens = std::move(tokens[p]);
  return set;
}

// What every rank was told and found for itself.
void check_agreement(const DecodeInputs& inputs, const EvalArguments& arguments, const DraftTree& tree,
                     RankGroup& ranks) {
  if (!ranks.is_several()) return;
  check_same(ranks,
             {{"version", GORGON_VERSION},
              {"--dtype", std::string(name(inputs.compute))},
              {"--heads-dtype", inputs.head_storage == HeadStorage::q8_0 ? "q8_0" : "full"},
              {"--draft", arguments.draft},
              {"--limit", std::to_string(arguments.limit)},
              {"--max-new-tokens", std::to_string(arguments.max_new_tokens)},
              {"--temperature", fmt::format("{}", arguments.temperature)},
              {"--seed", std::to_string(arguments.seed)},
              {"--batches", fmt::format("{}", fmt::join(arguments.batches, ","))},
              {"--tree", "SHA-256 " + tree_sha256(tree)},
              {"per_device_eval_batch_size", std::to_string(inputs.found.config.per_device_eval_batch_size)}},
             ExitCode::config, "start all ranks with the same program and the same arguments");
  check_same(ranks, {{"heads", "SHA-256 " + sha256_of_file(inputs.found.file, ExitCode::checkpoint)}},
             ExitCode::checkpoint, "give all machines the same heads");
  check_same_model(ranks, inputs.weights);
  check_same_text(ranks, inputs.text.tokenizer);
  ranks.set_patience(kPatience);
  check_same_data(ranks, {{"--data", data_fingerprint(arguments.data), true}});
}

DecodeEvaluationOptions decode_options(const DecodeInputs& inputs, const EvalArguments& arguments,
                                       Console& console) {
  DecodeEvaluationOptions options;
  options.tree = find_tree(inputs.found, arguments.tree, inputs.heads.count(), console);
  for (const Draft draft : {Draft::heads, Draft::lookup, Draft::both}) {
    if (arguments.draft.empty() || arguments.draft == name(draft)) options.drafts.push_back(draft);
  }
  options.max_new_tokens = arguments.max_new_tokens;
  options.temperature = arguments.temperature;
  options.seed = arguments.seed;
  const std::set<int64_t> batches(arguments.batches.begin(), arguments.batches.end());  // ascending
  options.batches.assign(batches.begin(), batches.end());
  options.stop_tokens = stop_tokens(inputs.text);
  return options;
}

DecodeEvaluation decode(const DecodeInputs& inputs, const PromptSet& set,
                        const DecodeEvaluationOptions& options, RankShare& share, Console& console) {
  return evaluate_decoding(inputs.backbone, inputs.heads, set.prompts, options, inputs.stream, share,
                           stage_bars(console));
}

void add_origin(OrderedJson& json, const DecodeInputs& inputs, const EvalArguments& arguments,
                const PromptSet& set, const DraftTree& tree) {
  json["seed"] = arguments.seed;
  json["max_new_tokens"] = arguments.max_new_tokens;
  json["tree"] = {{"nodes", tree.nodes()}, {"sha256", tree_sha256(tree)}};
  json["data"] = arguments.data;
  json["data_sha256"] = set.sha256;
  json["heads_file"] = inputs.found.file.string();
  json["heads_sha256"] = sha256_of_file(inputs.found.file, ExitCode::checkpoint);
  json["model_fingerprint"] = inputs.weights.fingerprint;
  json["dtype"] = name(inputs.compute);
  json["heads_dtype"] = inputs.head_storage == HeadStorage::q8_0 ? "q8_0" : name(inputs.compute);
  json["device"] = to_string(inputs.stream.device());
  json["threads"] = inputs.stream.threads().size();
  json["version"] = GORGON_VERSION;
}

// What flatters stands in front of the verdicts.
void add_seen(OrderedJson& json, const SeenPrompts& seen) {
  json["prompts_trained_on"] = seen.trained ? OrderedJson(*seen.trained) : OrderedJson();
  json["prompts_tree_chosen_by"] = seen.calibrated ? OrderedJson(*seen.calibrated) : OrderedJson();
  OrderedJson lines = describe(seen);
  for (const OrderedJson& line : json["verdict"]) lines.push_back(line);
  json["verdict"] = lines;
}

// What a user must not miss: drafts may make decoding faster, never different.
void require_lossless(const DecodeEvaluation& evaluation) {
  if (evaluation.lossless()) return;
  for (const DraftResult& result : evaluation.results) {
    for (const Divergence& d : result.divergences) {
      if (!d.failure && !evaluation.exact_arithmetic) continue;
      fail(ExitCode::check_failed, {"eval", "exact_match", "the tokens of plain decoding",
                                    fmt::format("another token {} of prompt {} with draft {}, margin {:.4f}",
                                                d.index, d.prompt, name(result.draft), d.margin),
                                    "this is a defect of gorgon, please report it"});
    }
  }
  fail(ExitCode::check_failed,
       {"eval", "tau", "the simulated walk", "other steps", "this is a defect of gorgon, please report it"});
}

// In the run where there is one; nothing is added to a checkpoint or an export.
void place_log(const DecodeInputs& inputs, const EvalArguments& arguments, const RankGroup& ranks,
               Console& console) {
  if (!ranks.is_several()) return;
  if (inputs.found.is_finished_run(arguments.run)) {
    console.place_rank_log(arguments.run / kLogs, ranks.rank());
  } else if (!arguments.output.empty()) {
    console.place_rank_log(arguments.output.string() + ".logs", ranks.rank());
  }
}

// Tables on stdout; JSON where it is wanted. What a run directory keeps is greedy decoding: sampled answers
// do not take its place.
void report(const EvalArguments& arguments, const DecodeInputs& inputs, const std::vector<HeadSums>& labels,
            const PromptSet& set, const DraftTree& tree, const DecodeEvaluation& evaluation,
            Console& console) {
  const std::vector<double> weights = loss_weights(inputs.found.config.loss, inputs.heads.count());
  const bool labelled =
      std::any_of(labels.begin(), labels.end(), [](const HeadSums& head) { return head.count > 0; });
  if (labelled) {
    fmt::print("against the labels of {}\n{}", fmt::join(arguments.data, " "), heads_table(labels, {}));
  } else {
    console.info("no labels in the data: only the model's own answers were looked at");
  }
  OrderedJson json = heads_json(labels, evaluation.prefix, weights);
  if (!set.prompts.empty()) {
    fmt::print("{}", decode_table(evaluation));
    for (const std::string& line : speed_warnings(evaluation)) console.warn(line);
    json.update(decode_json(evaluation, weights));
    const SeenPrompts seen = count_seen_prompts(inputs.found, arguments.tree, set.prompts);
    for (const std::string& line : describe(seen)) console.warn(line);
    add_seen(json, seen);
  }
  add_origin(json, inputs, arguments, set, tree);
  const std::string text = json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
  if (!arguments.output.empty()) write_atomically(arguments.output, text);
  if (!inputs.found.is_finished_run(arguments.run)) return;
  if (arguments.temperature > 0) {
    console.info(fmt::format("sampled: {} and {} of the run are left as they are", kEvalFile, kReportFile));
    return;
  }
  write_atomically(arguments.run / kEvalFile, text);
  write_report(arguments.run);
}

}  // namespace

int eval_command(const EvalArguments& arguments, Console& console, const StopSignal& stop, RankGroup& ranks) {
  if (ranks.is_first()) {
    if (!arguments.output.empty()) require_writable(arguments.output);
    require_readable(arguments.data, arguments.tree);
  }
  const DecodeInputs inputs(arguments.run, arguments.model, arguments.dtype, arguments.heads_dtype, console,
                            &stop, &ranks);
  const DecodeEvaluationOptions options = decode_options(inputs, arguments, console);
  ranks.set_step(-1);
  place_log(inputs, arguments, ranks, console);
  check_agreement(inputs, arguments, options.tree, ranks);
  RankShare share(ranks, [&stop] { return stop.requested(); });
  const PromptSet set = prompts_of(inputs, arguments, ranks, console);
  const std::vector<HeadSums> labels = label_sums(inputs, arguments, set, share, console);
  DecodeEvaluation evaluation;
  if (set.prompts.empty()) {
    console.warn("no prompts to decode: only the labels were looked at");
  } else {
    evaluation = decode(inputs, set, options, share, console);
  }
  if (ranks.is_first()) report(arguments, inputs, labels, set, options.tree, evaluation, console);
  require_lossless(evaluation);
  return 0;
}

}  // namespace gorgon
