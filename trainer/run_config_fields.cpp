#include <optional>

#include "trainer/special_fields.h"

// The field list: every key once, in the order in which configs/README.md shows them.

namespace gorgon {
namespace {

using namespace config_field;

Choices<Strategy> strategies() {
  return {{"no", Strategy::no}, {"steps", Strategy::steps}, {"epoch", Strategy::epoch}};
}

using Fields = std::vector<ConfigField>;

void add_data_fields(Fields& f) {
  f.push_back(text(
      {"model_path",
       {"model_name_or_path"},
       "the frozen model: a GGUF file or a Hugging Face directory; required",
       false},
      "path", [](auto& c) -> auto& { return c.model_path; }));
  f.push_back(train_paths());
  f.push_back(eval_paths());
  f.push_back(columns());
  f.push_back(text(
      {"output_dir", {}, "run directory: checkpoints, metrics, trained heads; required", false}, "path",
      [](auto& c) -> auto& { return c.output_dir; }));
  f.push_back(integer(
      {"max_seq_length", {"max_seq_len", "max_length"}, "tokens per sequence"}, 2, 1 << 20,
      [](auto& c) -> auto& { return c.max_seq_length; }));
  f.push_back(boolean(
      {"packing", {}, "documents run on into full sequences; false: one document a sequence"},
      [](auto& c) -> auto& { return c.packing; }));
  f.push_back(choice<PackingStrategy>(
      {"packing_strategy", {}, "wrapped: documents continue in the next sequence"},
      {{"wrapped", PackingStrategy::wrapped}}, [](auto& c) -> auto& { return c.packing_strategy; }));
  f.push_back(choice<std::optional<bool>>(
      {"assistant_only_loss",
       {},
       "supervise answers only, their end-of-turn token included; auto: true for chats, false for `text`"},
      {{"auto", std::nullopt}, {"true", true}, {"false", false}},
      [](auto& c) -> auto& { return c.assistant_only_loss; }));
}

void add_length_fields(Fields& f) {
  f.push_back(number(
      {"num_train_epochs", {}, "passes over the data, fractions allowed"}, 0, 1e6,
      [](auto& c) -> auto& { return c.num_train_epochs; }));
  f.push_back(integer(
      {"max_steps", {}, "optimizer steps; wins over num_train_epochs when > 0"}, -1, kManySteps,
      [](auto& c) -> auto& { return c.max_steps; }));
  f.push_back(integer(
      {"per_device_train_batch_size", {}, "sequences that go through the backbone together"}, 1, 65536,
      [](auto& c) -> auto& { return c.per_device_train_batch_size; }));
  f.push_back(integer(
      {"per_device_eval_batch_size", {}, "sequences that are evaluated together", false}, 1, 65536,
      [](auto& c) -> auto& { return c.per_device_eval_batch_size; }));
  f.push_back(integer(
      {"gradient_accumulation_steps", {}, "backbone batches per optimizer step", false}, 1, 1 << 20,
      [](auto& c) -> auto& { return c.gradient_accumulation_steps; }));
  f.push_back(integer(
      {"global_batch_size",
       {},
       "sequences per optimizer step; 0: per_device_train_batch_size x gradient_accumulation_steps x ranks"},
      0, 1 << 24, [](auto& c) -> auto& { return c.global_batch_size; }));
  f.push_back(choice<StateCache>(
      {"state_cache",
       {},
       "states of the backbone on disk, read in every epoch: off, or their type; auto: where there are "
       "several "
       "epochs and room on the disk, in the type of the computation",
       false},
      {{"auto", StateCache::automatic},
       {"off", StateCache::off},
       {"f32", StateCache::f32},
       {"bf16", StateCache::bf16}},
      [](auto& c) -> auto& { return c.state_cache; }));
  f.push_back(choice<RowOrder>(
      {"order",
       {},
       "document: a step has the rows of its sequences; rows: all rows of an epoch shuffled and cut into "
       "equal "
       "steps (from a cache)"},
      {{"document", RowOrder::document}, {"rows", RowOrder::rows}},
      [](auto& c) -> auto& { return c.order; }));
  f.push_back(boolean(
      {"shuffle", {}, "a new order of the sequences every epoch; false: file order"},
      [](auto& c) -> auto& { return c.shuffle; }));
  f.push_back(integer(
      {"seed", {}, "of the order of sequences and of stochastic rounding"}, 0,
      std::numeric_limits<int64_t>::max(), [](auto& c) -> auto& { return c.seed; }));
}

void add_report_fields(Fields& f) {
  f.push_back(integer(
      {"logging_steps",
       {},
       "optimizer steps between log lines and TensorBoard points; 0: off; "
       "metrics.jsonl always has every step",
       false},
      0, kManySteps, [](auto& c) -> auto& { return c.logging_steps; }));
  f.push_back(integer(
      {"eval_steps", {}, "optimizer steps between evaluations; 0: off", false}, 0, kManySteps,
      [](auto& c) -> auto& { return c.eval_steps; }));
  f.push_back(integer(
      {"save_steps", {}, "optimizer steps between checkpoints; 0: one at the end", false}, 0, kManySteps,
      [](auto& c) -> auto& { return c.save_steps; }));
  f.push_back(choice<Strategy>(
      {"logging_strategy", {}, "when logging_steps counts, or every epoch", false}, strategies(),
      [](auto& c) -> auto& { return c.logging_strategy; }));
  f.push_back(choice<Strategy>(
      {"eval_strategy", {"evaluation_strategy"}, "when to evaluate: by eval_steps or every epoch", false},
      strategies(), [](auto& c) -> auto& { return c.eval_strategy; }));
  f.push_back(choice<Strategy>(
      {"save_strategy", {}, "when to save: by save_steps or every epoch; no: no checkpoint at all", false},
      strategies(), [](auto& c) -> auto& { return c.save_strategy; }));
  f.push_back(integer(
      {"save_total_limit", {}, "checkpoints kept; the best and the two newest always stay; 0: all", false}, 0,
      1 << 20, [](auto& c) -> auto& { return c.save_total_limit; }));
  f.push_back(text(
      {"metric_for_best_model",
       {},
       "what chooses the best checkpoint and stops early: tokens per step of a chain along the model's own "
       "greedy answers (more is better; they are made once where the file has none), or the loss (cheaper: "
       "no answers are made); of the first evaluation file, or of the one named",
       false},
      "eval_accept_length, eval_loss, eval_NAME_accept_length or eval_NAME_loss",
      [](auto& c) -> auto& { return c.metric_for_best_model; }));
  f.push_back(boolean(
      {"load_best_model_at_end", {}, "export the best checkpoint's heads instead of the last step's", false},
      [](auto& c) -> auto& { return c.load_best_model_at_end; }));
  f.push_back(integer(
      {"early_stopping_patience", {}, "evaluations without a better metric that end the run; 0: off", false},
      0, 1 << 20, [](auto& c) -> auto& { return c.early_stopping_patience; }));
  f.push_back(choice<ReportTo>(
      {"report_to", {}, "event files beside metrics.jsonl", false},
      {{"tensorboard", ReportTo::tensorboard}, {"none", ReportTo::none}},
      [](auto& c) -> auto& { return c.report_to; }));
}

void add_machine_fields(Fields& f) {
  f.push_back(device());
  f.push_back(boolean(
      {"overlap_backbone",
       {},
       "a GPU runs the next step's backbone beside the heads of this one, in memory of its own; the result "
       "is "
       "the same",
       false},
      [](auto& c) -> auto& { return c.overlap_backbone; }));
  f.push_back(choice<ParallelHeads>(
      {"parallel_heads",
       {},
       "how several ranks share the heads: each holds all of them (replicate) or a part of every head, "
       "split by vocabulary (vocab); auto: vocab where it sends fewer bytes, or all of them do not fit",
       false},
      {{"auto", ParallelHeads::automatic},
       {"replicate", ParallelHeads::replicate},
       {"vocab", ParallelHeads::vocab}},
      [](auto& c) -> auto& { return c.parallel_heads; }));
  f.push_back(integer(
      {"ddp_timeout",
       {},
       "seconds that ranks wait for one another, at the start and in every collective, before they report "
       "who is missing",
       false},
      1, 1 << 24, [](auto& c) -> auto& { return c.ddp_timeout; }));
  f.push_back(max_run_time());
}

// Keys of which only the value that means "as ever" is known, so that complete files paste in.
void add_single_valued_fields(Fields& f) {
  const std::string remedy = "take the key out, or wait for a later version";
  f.push_back(only({"adapter_path", {}, "adapters are not merged here"}, {},
                   "merge the adapter first: PEFT's merge_and_unload, then save_pretrained"));
  f.push_back(only({"labels", {}, "what heads learn: the data's tokens"}, {"data"},
                   "gorgon distill CONFIG makes data of the model's own answers"));
  f.push_back(only({"heads_loss", {}, "cross-entropy"}, {"ce"}, remedy));
  f.push_back(only({"backbone_memory", {}, "the backbone is held whole"}, {}, remedy));
  f.push_back(only({"detect_bit_errors", {}, "steps are not replayed"}, {"off", "0"}, remedy));
}

}  // namespace

const std::vector<ConfigField>& config_fields() {
  static const std::vector<ConfigField> fields = [] {
    Fields f;
    add_data_fields(f);
    add_head_fields(f);
    add_length_fields(f);
    add_optimizer_fields(f);
    add_precision_fields(f);
    f.push_back(vocab_gradient_filter());
    add_report_fields(f);
    add_machine_fields(f);
    add_single_valued_fields(f);
    return f;
  }();
  return fields;
}

}  // namespace gorgon
