#include <fstream>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "trainer/run_config.h"

namespace gorgon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kMinimal = "model_path: m.gguf\ntrain_dataset_path: d.jsonl\noutput_dir: out\n";

RunConfig config_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_config(kMinimal + text, "run.yaml", overrides).config;
}

// The message of the Error(config) that a text must give.
std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse_config(text, "run.yaml", overrides);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::config);
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text.substr(0, 200);
  return "";
}

std::string file_text(const std::string& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

// Keys of which this version knows one value.
const std::set<std::string> kOneValue = {"packing_strategy", "train_only_medusa_heads", "bnb_4bit_quant_type",
                                         "adapter_path", "labels", "heads_loss", "backbone_memory",
                                         "detect_bit_errors",
                                         // these contradict load_in_4bit and bf16: false; read below
                                         "load_in_8bit", "fp8"};

TEST(Config, DefaultsAreThoseOfTheDocumentation) {
  const RunConfig c = config_of("");
  EXPECT_EQ(c.heads.num_heads, 5);
  EXPECT_EQ(c.heads.num_layers, 1);
  EXPECT_EQ(c.max_seq_length, 2048);
  EXPECT_EQ(c.loss.heads_coefficient, 0.1);
  EXPECT_EQ(c.lr.learning_rate, 1e-4);
  EXPECT_EQ(c.num_train_epochs, 3);
  EXPECT_EQ(c.global_batch(), 1);
  EXPECT_EQ(c.compute(), DType::bf16);
  EXPECT_TRUE(c.optimizer.eight_bit);
  EXPECT_EQ(c.optimizer.max_grad_norm, 1.0f);
  EXPECT_EQ(c.save_total_limit, 2);
}

TEST(Config, EveryKeyIsReadAndSavedAndComesBack) {
  // For every field a value that is not its default, so that a field that is dropped somewhere is seen.
  const std::string text =
      "model_path: \"a b.gguf\"\ntrain_dataset_path: [x.jsonl, 'y\"*.jsonl']\neval_dataset_path: {one: "
      "e.jsonl, two: f.jsonl}\n"
      "output_dir: out\nmax_seq_length: 77\npacking: false\npacking_strategy: wrapped\nassistant_only_loss: "
      "true\n"
      "medusa_num_heads: 3\nmedusa_num_layers: 2\nmedusa_head_linear: lowrank\nmedusa_head_rank: "
      "4\nmedusa_vocab: seen\nmedusa_heads_coefficient: 0.2\n"
      "medusa_decay_coefficient: 0.8\nmedusa_scheduler: sine\nmedusa_lr_multiplier: [1, 2.5, 3]\n"
      "train_only_medusa_heads: true\nnum_train_epochs: 1.5\nmax_steps: 9\nper_device_train_batch_size: 2\n"
      "per_device_eval_batch_size: 3\ngradient_accumulation_steps: 4\nglobal_batch_size: 12\nstate_cache: "
      "f32\norder: rows\nshuffle: "
      "false\nseed: 7\n"
      "learning_rate: 3e-3\nlr_scheduler_type: cosine_with_min_lr\nmin_lr_rate: 0.1\nwarmup_ratio: "
      "0.03\nwarmup_steps: 5\n"
      "optim: adamw_torch\nadam_beta1: 0.8\nadam_beta2: 0.99\nadam_epsilon: 1e-7\nweight_decay: "
      "0.01\nmax_grad_norm: 10\n"
      "master_weights: f32\nbf16: false\ntf32: true\nfp8: false\noverlap_backbone: true\nlogging_steps: "
      "15\neval_steps: 20\nsave_steps: 25\n"
      "logging_strategy: epoch\neval_strategy: epoch\nsave_strategy: epoch\nsave_total_limit: 5\n"
      "metric_for_best_model: eval_two_loss\nload_best_model_at_end: true\nearly_stopping_patience: "
      "3\nreport_to: none\n"
      "load_in_4bit: true\nload_in_8bit: false\nbnb_4bit_quant_type: nf4\nbnb_4bit_use_double_quant: false\n"
      "device: cuda:3\nddp_timeout: 7\nparallel_heads: vocab\nmax_run_time: 90m\ncolumns: {messages: "
      "conversations, content: 'the "
      "\"value\"'}\n"
      "adapter_path: null\nlabels: data\nheads_loss: ce\nbackbone_memory: "
      "~\n"
      "vocab_gradient_filter: 0.001\ndetect_bit_errors: off\n";
  const RunConfig c = parse_config(text, "run.yaml", {}).config;
  const RunConfig defaults;
  const RunConfig again = parse_config(to_yaml(c), "saved.yaml", {}).config;
  for (const ConfigField& field : config_fields()) {
    const bool one_value = kOneValue.contains(field.name);
    EXPECT_THAT(text, HasSubstr(field.name + ": "));
    if (!one_value) {
      EXPECT_NE(field.print(c), field.print(defaults)) << field.name;
    }
    EXPECT_EQ(field.print(c), field.print(again)) << field.name;
  }
  EXPECT_EQ(c.medusa_lr_multiplier, (std::vector<double>{1, 2.5, 3}));
  EXPECT_EQ(c.eval_dataset_path, (std::vector<NamedPath>{{"one", "e.jsonl"}, {"two", "f.jsonl"}}));
  EXPECT_EQ(c.train_dataset_path[1], "y\"*.jsonl");
  EXPECT_FLOAT_EQ(c.optimizer.beta2, 0.99f);
  EXPECT_TRUE(config_of("load_in_8bit: true\n").load_in_8bit);
  EXPECT_TRUE(config_of("fp8: true\n").fp8);
}

TEST(Config, AliasesAndSeveralNamesOfOneKey) {
  EXPECT_EQ(config_of("max_seq_len: 5").max_seq_length, 5);
  EXPECT_FALSE(config_of("torch_dtype: float32").bf16);
  EXPECT_TRUE(config_of("torch_dtype: bfloat16\nbf16: true").bf16);
  EXPECT_THAT(refusal(kMinimal + "torch_dtype: float32\nbf16: true"),
              AllOf(HasSubstr("run.yaml:5:7: bf16"), HasSubstr("torch_dtype in line 4, false"),
                    HasSubstr("found true")));
}

TEST(Config, OverridesWin) {
  const RunConfig c =
      config_of("learning_rate: 0.1", {"learning_rate=0.5", "train_dataset_path=[a, b]", "seed=1"});
  EXPECT_EQ(c.lr.learning_rate, 0.5);
  EXPECT_EQ(c.train_dataset_path.size(), 2u);
  EXPECT_EQ(c.seed, 1);
  EXPECT_THAT(refusal(kMinimal, {"sed=1"}),
              AllOf(HasSubstr("--set: expected a known key, found 'sed'"), HasSubstr("did you mean seed?")));
  EXPECT_THAT(refusal(kMinimal, {"seed"}), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(refusal(kMinimal, {"seed=x"}),
              AllOf(HasSubstr("--set: seed: expected an integer"), HasSubstr("'x'")));
  EXPECT_THAT(refusal(kMinimal, {"seed=[1"}), HasSubstr("--set: seed: expected a ] behind its ["));
}

TEST(Config, StepsOfARun) {
  const RunConfig c =
      config_of("per_device_train_batch_size: 2\ngradient_accumulation_steps: 4\nnum_train_epochs: 1.5");
  EXPECT_EQ(c.global_batch(), 8);
  EXPECT_EQ(c.steps_per_epoch(17), 3);
  EXPECT_EQ(c.resolved_max_steps(17), 5);  // ceil(1.5 * 3)
  EXPECT_EQ(config_of("max_steps: 4").resolved_max_steps(17), 4);
  EXPECT_EQ(config_of("global_batch_size: 5\ngradient_accumulation_steps: 4").global_batch(), 5);
}

struct WrongInput {
  std::string name, text;
  std::vector<std::string> says;
};
void PrintTo(const WrongInput& row, std::ostream* out) {
  *out << row.name;
}
class WrongYaml : public ::testing::TestWithParam<WrongInput> {};

TEST_P(WrongYaml, IsOneLineThatSaysWhereAndWhat) {
  const std::string message = refusal(GetParam().text);
  for (const std::string& part : GetParam().says) EXPECT_THAT(message, HasSubstr(part));
}

const std::string kAt4 = "run.yaml:4:";

INSTANTIATE_TEST_SUITE_P(
    Table, WrongYaml,
    ::testing::Values(
        WrongInput{"empty", "", {"run.yaml:1:1", "expected a map", "nothing"}},
        WrongInput{"comment_alone", "# nothing\n", {"expected a map"}},
        WrongInput{"list", "- 1\n- 2\n", {"expected a map", "a list"}},
        WrongInput{"scalar", "hello", {"expected a map", "a single value"}},
        WrongInput{
            "duplicate", kMinimal + "seed: 1\nseed: 2\n", {"run.yaml:5:1", "'seed'", "line 4", "line 5"}},
        WrongInput{
            "nested_duplicate", kMinimal + "eval_dataset_path: {a: x, a: y}\n", {kAt4, "'a'", "line 4"}},
        WrongInput{"unknown",
                   kMinimal + "medusa_num_head: 3\n",
                   {kAt4, "'medusa_num_head'", "did you mean medusa_num_heads?"}},
        WrongInput{"unknown_far", kMinimal + "zzzzqqqq: 3\n", {"'zzzzqqqq'", "configs/README.md"}},
        WrongInput{"adapter", kMinimal + "adapter_path: a\n", {kAt4, "adapter_path", "merge_and_unload"}},
        WrongInput{
            "teacher", kMinimal + "labels: teacher\n", {"labels: expected data", "'teacher'", "distill"}},
        WrongInput{"later", kMinimal + "heads_loss: kl\n", {"heads_loss", "expected ce", "'kl'"}},
        WrongInput{"columns_list", kMinimal + "columns: [a]\n", {"columns", "a map", "found a list"}},
        WrongInput{"columns_field",
                   kMinimal + "columns: {conversations: messages}\n",
                   {kAt4, "columns", "'conversations'", "FIELD: NAME-IN-THE-DATA"}},
        WrongInput{
            "filter", kMinimal + "vocab_gradient_filter: 1\n", {"vocab_gradient_filter", "or off", "'1'"}},
        WrongInput{"run_time", kMinimal + "max_run_time: 1w\n", {"max_run_time", "12h", "'1w'"}},
        WrongInput{"no_run_time", kMinimal + "max_run_time: 0\n", {"max_run_time", "or off", "'0'"}},
        WrongInput{"gpu_number", kMinimal + "device: cuda:x\n", {"device", "cuda:N", "'cuda:x'"}},
        WrongInput{"open_bracket",
                   kMinimal + "medusa_lr_multiplier: [1, 2\nseed: 1\n",
                   {"run.yaml:4:23", "a ] behind its [", "close the bracket"}},
        WrongInput{
            "open_brace", kMinimal + "eval_dataset_path: {a: b\n", {"run.yaml:4:20", "a } behind its {"}},
        WrongInput{"two_colons",
                   kMinimal + "device: a: b\n",
                   {"run.yaml:4:", "one `key: value` a line", "'device: a: b'"}},
        WrongInput{"both4And8",
                   kMinimal + "load_in_4bit: true\nload_in_8bit: true\n",
                   {"load_in_8bit", "load_in_4bit"}},
        WrongInput{"fp8And8", kMinimal + "fp8: true\nload_in_8bit: true\n", {"fp8", "load_in_8bit"}},
        WrongInput{"fp8InF32", kMinimal + "fp8: true\nbf16: false\n", {"fp8", "bf16: false"}},
        WrongInput{"float_for_int",
                   kMinimal + "medusa_num_heads: 3.0\n",
                   {"run.yaml:4:19", "medusa_num_heads", "an integer", "'3.0'"}},
        WrongInput{"exponent_for_int", kMinimal + "max_steps: 1e3\n", {"max_steps", "an integer", "'1e3'"}},
        WrongInput{"text_for_int", kMinimal + "max_steps: \"3\"\n", {"the text '3'"}},
        WrongInput{"list_for_int", kMinimal + "max_steps: [3]\n", {"found a list"}},
        WrongInput{"int_for_bool", kMinimal + "packing: 1\n", {"true or false", "'1'"}},
        WrongInput{"map_for_path", kMinimal + "train_dataset_path: {a: b}\n", {"train_dataset_path"}},
        WrongInput{"unknown_choice",
                   kMinimal + "optim: adamw_8bits\n",
                   {"one of adamw_8bit", "did you mean adamw_8bit?"}},
        WrongInput{"no_digits", kMinimal + "learning_rate: 1e\n", {"a number", "'1e'"}},
        WrongInput{"hexadecimal", kMinimal + "seed: 0x10\n", {"an integer", "'0x10'"}},
        WrongInput{"below", kMinimal + "medusa_num_heads: 0\n", {"from 1 to 32", "'0'"}},
        WrongInput{"above", kMinimal + "warmup_ratio: 1.5\n", {"from 0 to 1", "'1.5'"}},
        WrongInput{
            "overflow", kMinimal + "seed: 99999999999999999999\n", {"an integer", "'99999999999999999999'"}},
        WrongInput{"float_overflow", kMinimal + "learning_rate: 1e999\n", {"a number"}},
        WrongInput{"nan", kMinimal + "learning_rate: .nan\n", {"a number", "'.nan'"}},
        WrongInput{"inf", kMinimal + "learning_rate: .inf\n", {"a number", "'.inf'"}},
        WrongInput{"minus_inf", kMinimal + "learning_rate: -inf\n", {"a number", "'-inf'"}},
        WrongInput{"leading_zero", kMinimal + "max_steps: 010\n", {"'010'", "leading zeros"}},
        WrongInput{"leading_zero_float", kMinimal + "learning_rate: 01.5\n", {"'01.5'", "leading zeros"}},
        WrongInput{"documents", kMinimal + "---\nseed: 1\n---\nseed: 2\n", {"one document", "3 documents"}},
        WrongInput{"open_quote", kMinimal + "device: \"cpu\n", {"run.yaml:4:9", "closing quote", "byte"}},
        WrongInput{
            "open_single_quote", kMinimal + "device: 'it''s\nseed: 1\n", {"run.yaml:4:9", "closing quote"}},
        WrongInput{"nul", kMinimal + std::string("device: \0cpu\n", 13), {"run.yaml@", "NUL"}},
        WrongInput{"not_utf8", kMinimal + "device: \xff\n", {"run.yaml@", "UTF-8", "\\xff"}},
        WrongInput{"overlong_utf8", kMinimal + "device: \xc0\xaf\n", {"run.yaml@", "UTF-8"}},
        WrongInput{"alias", kMinimal + "device: &d cpu\nreport_to: *d\n", {"run.yaml:5:", "alias"}},
        WrongInput{"self_alias", "a: &a [*a]\n", {"alias"}},
        WrongInput{
            "depth", kMinimal + "seed: " + std::string(17, '[') + std::string(17, ']') + "\n", {"16 levels"}},
        WrongInput{"hostile_depth", "seed: " + std::string(200000, '['), {"run.yaml:1:"}},
        WrongInput{"tag", kMinimal + "seed: !!int 3\n", {"tag"}},
        WrongInput{"size", kMinimal + "#" + std::string(1 << 20, 'x') + "\n", {"1048576 bytes"}},
        WrongInput{"syntax", kMinimal + "seed: 1: 2\n", {"run.yaml:4:"}},
        WrongInput{"tab", kMinimal + "eval_dataset_path:\n\ta: b\n", {"run.yaml:5:", "found a tab"}},
        WrongInput{"indentation", kMinimal + "  seed: 1\n", {"run.yaml:4:", "'  seed: 1'"}},
        WrongInput{"missing", "model_path: m\noutput_dir: o\n", {"train_dataset_path", "a value"}},
        WrongInput{"two_factors",
                   kMinimal + "medusa_lr_multiplier: [1, 2]\nmedusa_num_heads: 3\n",
                   {"run.yaml:4:", "medusa_lr_multiplier", "medusa_num_heads: 3", "[1, 2]"}},
        WrongInput{"eval_without_data",
                   kMinimal + "eval_steps: 5\n",
                   {"eval_steps", "eval_dataset_path: none", "found 5"}},
        WrongInput{"best_without_eval",
                   kMinimal + "eval_dataset_path: e\nload_best_model_at_end: true\n",
                   {"load_best_model_at_end", "eval_steps: 0", "true"}},
        WrongInput{"unknown_metric",
                   kMinimal + "eval_dataset_path: e\nmetric_for_best_model: eval_lost\n",
                   {"one of eval_accept_length, eval_loss, ", "'eval_lost'"}},
        WrongInput{"train_the_backbone",
                   kMinimal + "train_only_medusa_heads: false\n",
                   {"train_only_medusa_heads", "Medusa-1"}},
        WrongInput{"upload", kMinimal + "push_to_hub: true\n", {"push_to_hub", "false"}},
        WrongInput{
            "upload_text", kMinimal + "push_to_hub: \"false\"\n", {"true or false", "the text 'false'"}},
        WrongInput{"escaped", kMinimal + "device: \"a\\nb\x7f\"\n", {"'a\\nb\\x7f'"}}),
    [](const auto& row) { return row.param.name; });

TEST(Config, DurationsAndDevices) {
  EXPECT_EQ(config_of("max_run_time: 90").max_run_time, 90);
  EXPECT_EQ(config_of("max_run_time: 1d2h3m4s").max_run_time, 86400 + 7200 + 180 + 4);
  EXPECT_EQ(config_of("max_run_time: off").max_run_time, 0);
  EXPECT_EQ(config_of("device: cuda:12").device, "cuda:12");
}

TEST(Config, WhatLooksWrongAndIsNot) {
  EXPECT_EQ(config_of("seed: 0").seed, 0);
  EXPECT_EQ(config_of("learning_rate: 0.5e-3").lr.learning_rate, 0.5e-3);
  EXPECT_EQ(config_of("learning_rate: 1.e-3").lr.learning_rate, 1e-3);
  EXPECT_EQ(config_of("learning_rate: +1").lr.learning_rate, 1);
  EXPECT_EQ(config_of("eval_dataset_path: null\nseed: ~").seed, 42);
  EXPECT_EQ(config_of("eval_dataset_path: 'it''s'").eval_dataset_path[0].path, "it's");
  EXPECT_EQ(parse_config("\xef\xbb\xbf---\n" + kMinimal + "...\n", "f", {}).config.output_dir, "out");
  EXPECT_EQ(config_of("eval_dataset_path: \"caf\xc3\xa9\"").eval_dataset_path[0].path, "caf\xc3\xa9");
}

// The whole YAML of the published recipe, as its authors name the keys.
TEST(Config, PublishedRecipeIsAcceptedAndSaidToUndertrain) {
  const LoadedConfig loaded = load_config("configs/zephyr-7b-text-to-sql.yaml", {});
  const RunConfig& c = loaded.config;
  EXPECT_EQ(c.model_path, "models/zephyr-7b-text-to-sql");
  EXPECT_EQ(c.global_batch(), 16);
  EXPECT_EQ(c.max_seq_length, 256);
  EXPECT_EQ(c.optimizer.max_grad_norm, 10);
  EXPECT_EQ(c.eval_strategy, Strategy::steps);
  EXPECT_EQ(c.eval_steps, 15);
  int undertrained = 0, idle = 0;
  for (const std::string& note : loaded.notes) {
    undertrained += note.find("undertrained") != std::string::npos ? 1 : 0;
    idle +=
        note.find("no effect here: attn_implementation, use_cache, logging_dir") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(undertrained, 1);
  EXPECT_EQ(idle, 1);
  EXPECT_TRUE(load_config("configs/quickstart.yaml", {}).notes.empty());
}

TEST(Config, DifferingKeysAreThoseThatShapeTheResult) {
  const RunConfig a = config_of("");
  RunConfig b = a;
  b.logging_steps = 99;
  b.save_steps = 1;
  EXPECT_THAT(differing_keys(a, b), testing::IsEmpty());
  b.lr.learning_rate = 0.5;
  b.heads.num_heads = 3;
  EXPECT_THAT(differing_keys(a, b),
              testing::ElementsAre("medusa_num_heads: 5 -> 3", "learning_rate: 0.0001 -> 0.5"));
}

TEST(Config, KeyTableIsUpToDate) {
  const std::string readme = file_text("configs/README.md");
  const std::string begin = "<!-- keys -->\n";
  const size_t from = readme.find(begin), to = readme.find("<!-- /keys -->");
  ASSERT_NE(from, std::string::npos);
  EXPECT_EQ(readme.substr(from + begin.size(), to - from - begin.size()), config_key_table())
      << "put the output of `gorgon keys` between the two marks";
}

}  // namespace
}  // namespace gorgon
