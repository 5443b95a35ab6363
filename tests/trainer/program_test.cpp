#include "tests/trainer/program.h"

#include <fstream>
#include <iomanip>
#include <regex>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/dataset_file.h"
#include "data/safetensors.h"
#include "tests/data/temporary_directory.h"
#include "tests/trainer/json_keys.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/run_config.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> std::quoted(word);) words.push_back(word);
  return words;
}

TEST(Program, VersionAndKeys) {
  EXPECT_THAT(run_program({"--version"}).out, HasSubstr("gorgon 0."));
  EXPECT_EQ(run_program({"keys"}).out, config_key_table());
}

TEST(Program, NamesTheNearestCommandAndTheHelpThatTellsMore) {
  const auto says = [](const std::vector<std::string>& arguments, const std::string& line) {
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.status, 2);
    EXPECT_EQ(result.err, "error: command line: " + line + "\n");
  };
  says({"evl", "run"},
       "expected a command, found 'evl'; did you mean eval? gorgon --help shows what there is");
  says({"zzzzzzzz"}, "expected a command, found 'zzzzzzzz'; gorgon --help shows what there is");
  says({}, "expected a command, found none; gorgon --help shows what there is");
  says({"eval"}, "RUN is required; gorgon eval --help shows what there is");
  says({"generate", "run", "--prompt", "a", "--seed", "-1"},
       "--seed: expected a whole number from 0, found '-1'; gorgon generate --help shows what there is");
  says({"generate", "run", "--prompt", "a", "--temperature", "nan"},
       "--temperature: is not a number: nan; gorgon generate --help shows what there is");
  says({"generate", "run", "--prompt", "a", "--top-p", "0.5"},
       "--top-p requires --temperature; gorgon generate --help shows what there is");
}

TEST(Program, AFullDiskUnderItsOutputIsNoSuccess) {
  const TemporaryDirectory folder;
  const fs::path errors = folder.path() / "errors";
  const int status = std::system(("\"" GORGON_PROGRAM "\" keys >/dev/full 2>" + errors.string()).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 6);
  EXPECT_THAT(file_text(errors), HasSubstr("error: standard output: expected a place that takes what is "
                                           "printed, found No space left on device"));
}

// The example under every --help is run as it stands, but for what it reads and writes: a tiny run.
TEST(Program, EveryHelpEndsWithAnExampleThatWorks) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  const std::map<std::string, std::string> tiny = {
      {"configs/quickstart.yaml", (folder.path() / "run.yaml").string()},
      {"runs/quickstart", (folder.path() / "run").string()},
      {"runs/quickstart-data/test.jsonl", (folder.path() / "eval.jsonl").string()},
      {"runs/quickstart-data/calibration.jsonl", (folder.path() / "eval.jsonl").string()},
      {"runs/quickstart-data/own.jsonl", (folder.path() / "own.jsonl").string()},
      {"runs/quickstart/tree.json", (folder.path() / "run/tree.json").string()},
      {"exports/quickstart", (folder.path() / "export").string()},
      {"output_dir=runs/lr2e-3", "output_dir=" + (folder.path() / "run").string()}};
  for (const std::string command :
       {"", "prepare", "plan", "train", "eval", "tree", "distill", "export", "generate", "keys"}) {
    std::vector<std::string> arguments{"--help"};
    if (!command.empty()) arguments.insert(arguments.begin(), command);
    const ProgramResult help = run_program(arguments);
    EXPECT_EQ(help.status, 0);
    std::smatch match;
    ASSERT_TRUE(std::regex_search(help.out, match, std::regex("Example:\n  gorgon ([^\n]+)"))) << help.out;
    if (command.empty()) continue;
    std::vector<std::string> example = words_of(match[1]);
    for (std::string& word : example) {
      const auto replacement = tiny.find(word);
      if (replacement != tiny.end()) word = replacement->second;
    }
    const ProgramResult result = run_program(example);
    EXPECT_EQ(result.status, 0) << match[1] << "\n" << result.err;
    EXPECT_FALSE(result.out.empty()) << match[1];
  }
}

TEST(Program, TrainedHeadsAreWhatEnginesRead) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  const fs::path run = folder.path() / "run";
  const ProgramResult result =
      run_program({"train", (folder.path() / "run.yaml").string(), "--set", "medusa_num_layers=2"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("head      loss   top-1"));
  EXPECT_THAT(result.out, HasSubstr((run / "medusa_heads.safetensors").string()));

  const MappedFile file(run / "medusa_heads.safetensors", ExitCode::checkpoint);
  const Safetensors heads = parse_safetensors(file.bytes(), "heads");
  std::vector<std::string> names;
  for (const auto& [name, entry] : heads.tensors) names.push_back(name);
  EXPECT_THAT(names,
              testing::ElementsAre("0.0.linear.bias", "0.0.linear.weight", "0.1.linear.bias",
                                   "0.1.linear.weight", "0.2.weight", "1.0.linear.bias", "1.0.linear.weight",
                                   "1.1.linear.bias", "1.1.linear.weight", "1.2.weight"));
  EXPECT_EQ(heads.tensors.at("0.2.weight").shape, (std::vector<int64_t>{536, 32}));
  EXPECT_EQ(heads.tensors.at("0.2.weight").type, DType::bf16);
  EXPECT_EQ(heads.metadata.at("format"), "pt");

  const json config = json::parse(file_text(run / "config.json"));
  const json expected = {{"model_type", "medusa"},
                         {"hidden_size", 32},
                         {"vocab_size", 536},
                         {"truncated_vocab_size", 536},
                         {"medusa_num_heads", 2},
                         {"num_medusa_heads", 2},
                         {"medusa_num_layers", 2},
                         {"medusa_fc_bias", true},
                         {"base_model_name_or_path", (folder.path() / "model").string()},
                         {"version", "1"},
                         {"torch_dtype", "bfloat16"}};
  EXPECT_EQ(config, expected);  // no `architectures`, no other key that an engine would rename
}

TEST(Program, EvalAgreesWithTheRunsOwnEvaluation) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  ASSERT_EQ(run_program({"train", (folder.path() / "run.yaml").string()}).status, 0);
  json last;
  std::istringstream metrics(file_text(folder.path() / "run" / "metrics.jsonl"));
  for (std::string line; std::getline(metrics, line);) last = json::parse(line);
  const std::string output = (folder.path() / "eval.json").string();
  for (const char* where : {"run", "run/checkpoint-8"}) {
    const ProgramResult result =
        run_program({"eval", (folder.path() / where).string(), "--data",
                     (folder.path() / "eval.jsonl").string(), "--output", output, "--max-new-tokens", "4"});
    ASSERT_EQ(result.status, 0) << result.err;
    const json report = json::parse(file_text(output));
    EXPECT_EQ(report["loss"], last["eval_loss"]);
    for (size_t k = 0; k < 2; ++k) {
      EXPECT_EQ(report["heads"][k]["ce"], last["eval_heads"][k]);
      EXPECT_TRUE(report["heads"][k]["prefix"].is_number());
      EXPECT_EQ(report["heads"][k]["prefix"], report["own_answers"]["heads"][k]["prefix"]);
      for (int n = 1; n <= 5; ++n) {
        EXPECT_EQ(report["heads"][k]["top" + std::to_string(n)], last["eval_top" + std::to_string(n)][k]);
      }
    }
  }
  // Sampled answers do not take the place of the greedy ones that the run keeps.
  const fs::path run = folder.path() / "run";
  const std::string kept = file_text(run / "eval.json"), page = file_text(run / "report.html");
  const ProgramResult sampled =
      run_program({"eval", run.string(), "--data", (folder.path() / "eval.jsonl").string(), "--output",
                   output, "--max-new-tokens", "4", "--temperature", "0.8"});
  ASSERT_EQ(sampled.status, 0) << sampled.err;
  EXPECT_THAT(sampled.out, HasSubstr("sampled: not comparable"));
  EXPECT_TRUE(json::parse(file_text(output))["exact_match"].is_null());
  EXPECT_EQ(file_text(run / "eval.json"), kept);
  EXPECT_EQ(file_text(run / "report.html"), page);
  EXPECT_EQ(run_program({"eval", (folder.path() / "run/checkpoint-8").string(), "--data",
                         (folder.path() / "eval.jsonl").string(), "--limit", "1", "--output", output})
                .status,
            0);
  EXPECT_LT(json::parse(file_text(output))["heads"][0]["count"], 200);
}

TEST(Program, EveryKeyOfEvalIsDocumented) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  const fs::path run = folder.path() / "run";
  ASSERT_EQ(run_program({"train", (folder.path() / "run.yaml").string(), "--set", "max_steps=1"}).status, 0);
  const ProgramResult result =
      run_program({"eval", run.string() + "/", "--data", (folder.path() / "eval.jsonl").string(), "--dtype",
                   "f32", "--max-new-tokens", "4", "--limit", "2", "--batches", "1,2"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json report = json::parse(file_text(run / "eval.json"));
  ASSERT_TRUE(report["divergences"].empty());  // DecodeEvaluationTest looks at the keys of one
  EXPECT_EQ(report["batches"].size(), 4u);
  EXPECT_EQ(report["batches"][2]["batch"], 2);
  std::set<std::string> written, documented = documented_eval_keys();
  add_json_keys(report, "", written);
  std::erase_if(documented, [](const std::string& key) { return key.starts_with("divergences[]"); });
  EXPECT_EQ(written, documented);
}

json last_metrics(const fs::path& run) {
  json last;
  std::istringstream metrics(file_text(run / "metrics.jsonl"));
  for (std::string line; std::getline(metrics, line);) last = json::parse(line);
  return last;
}

// The same heads on the same continuations by the same passes; f32, so that nothing depends on batches. Once
// on answers that the run makes itself and once on answers that stand in the data.
TEST(Program, AcceptLengthInTrainingIsThatOfEval) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  const std::string config = (folder.path() / "run.yaml").string(), run = (folder.path() / "run").string();
  const std::string chats = (folder.path() / "eval.jsonl").string();
  const std::string own = (folder.path() / "own.jsonl").string();
  const std::string output = (folder.path() / "eval.json").string();
  ASSERT_EQ(run_program({"distill", config, "--output", own, "--set", "bf16=false", "--set",
                         "train_dataset_path=" + chats})
                .status,
            0);
  double before = 0;
  for (const std::string& data : {chats, own}) {
    ASSERT_EQ(run_program({"train", config, "--force", "--set", "bf16=false", "--set", "learning_rate=5e-2",
                           "--set", "eval_dataset_path=" + data})
                  .status,
              0);
    const fs::path made = fs::path(run) / "prepared" / "own-answers-eval.jsonl";
    EXPECT_EQ(fs::exists(made), data == chats);
    fs::remove(made);
    const double in_training = last_metrics(run)["eval_accept_length"];
    const ProgramResult result = run_program({"eval", run, "--data", data, "--output", output});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(json::parse(file_text(output))["chain_tau"], in_training);
    EXPECT_GT(in_training, 1.0);
    if (before > 0) {
      EXPECT_EQ(in_training, before);
    }
    before = in_training;
  }
}

TEST(Program, EvalLossAsMetricMakesNoAnswers) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  ASSERT_EQ(run_program(
                {"train", (folder.path() / "run.yaml").string(), "--set", "metric_for_best_model=eval_loss"})
                .status,
            0);
  EXPECT_FALSE(last_metrics(folder.path() / "run").contains("eval_accept_length"));
  EXPECT_FALSE(fs::exists(folder.path() / "run" / "prepared" / "own-answers-eval.jsonl"));
}

TEST(Program, TextsHaveNoPromptsSoThatTheLossChooses) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  std::ofstream(folder.path() / "eval.jsonl") << R"({"text": "there are rivers and stars and rows"})";
  const ProgramResult result =
      run_program({"train", (folder.path() / "run.yaml").string(), "--set", "load_best_model_at_end=true"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("eval_loss takes the place of eval_accept_length"));
}

TEST(Program, WithoutEvaluationFilesTestAndCalibrationRowsStayOut) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  const std::string data = (folder.path() / "train.jsonl").string();
  std::ofstream(data, std::ios::app) << tiny_chats(60, 140) << tiny_chats(0, 5);  // five occur twice
  const fs::path run = folder.path() / "run";
  const ProgramResult result =
      run_program({"train", (folder.path() / "run.yaml").string(), "--set", "eval_dataset_path=[]", "--set",
                   "eval_steps=0", "--set", "packing=false"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("5 rows left out: prompt of an earlier row"));
  EXPECT_THAT(result.err, HasSubstr("rows left out: prompt kept for calibration"));
  EXPECT_THAT(result.err, HasSubstr("rows left out: prompt kept for tests"));
  // With one document a sequence, what was trained on, calibrated on and tested on adds up to all prompts.
  const auto trained = read_dataset(run / "prepared" / "dataset.h5").sequences();
  const std::string output = (folder.path() / "out.json").string();
  ASSERT_EQ(
      run_program({"eval", run.string(), "--data", data, "--output", output, "--max-new-tokens", "2"}).status,
      0);
  const int64_t tested = json::parse(file_text(output))["prompts"];
  const ProgramResult tree = run_program({"tree", run.string(), "--data", data, "--output",
                                          (run / "tree.json").string(), "--max-new-tokens", "2"});
  ASSERT_EQ(tree.status, 0) << tree.err;
  const int64_t calibrated = json::parse(file_text(run / "tree.json"))["made_from"]["prompts"];
  EXPECT_GT(tested, 0);
  EXPECT_GT(calibrated, 0);
  EXPECT_EQ(trained + tested + calibrated, 200);
}

TEST(Program, SeveralEvaluationFilesGiveASetOfMetricsEach) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  std::ofstream(folder.path() / "other.jsonl") << tiny_chats(2000, 3);
  const std::string map = "eval_dataset_path={near: " + (folder.path() / "eval.jsonl").string() +
                          ", far: " + (folder.path() / "other.jsonl").string() + "}";
  ASSERT_EQ(run_program({"train", (folder.path() / "run.yaml").string(), "--set", map, "--set",
                         "metric_for_best_model=eval_far_loss"})
                .status,
            0);
  std::map<std::string, int> lines;
  std::istringstream metrics(file_text(folder.path() / "run" / "metrics.jsonl"));
  for (std::string line; std::getline(metrics, line);) {
    const json record = json::parse(line);
    if (record.contains("data")) ++lines[record["data"]];
  }
  EXPECT_EQ(lines, (std::map<std::string, int>{{"near", 4}, {"far", 4}}));
}

// The same rows under other names, as ShareGPT has them, train the same heads.
TEST(Program, ColumnsRenameFields) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  const std::string config = (folder.path() / "run.yaml").string();
  ASSERT_EQ(run_program({"train", config}).status, 0);
  const std::string heads = file_text(folder.path() / "run/medusa_heads.safetensors");
  for (const char* file : {"train.jsonl", "eval.jsonl"}) {
    std::string text = file_text(folder.path() / file);
    for (const auto& [from, to] :
         {std::pair("\"messages\"", "\"conversations\""), std::pair("\"role\"", "\"from\""),
          std::pair("\"content\"", "\"value\"")}) {
      text = std::regex_replace(text, std::regex(from), to);
    }
    std::ofstream(folder.path() / file) << text;
  }
  const ProgramResult refused = run_program({"train", config, "--force"});
  EXPECT_EQ(refused.status, 4);
  EXPECT_THAT(refused.err, HasSubstr("columns: {messages: NAME}"));
  EXPECT_TRUE(file_text(folder.path() / "run/medusa_heads.safetensors") == heads) << "gone before its time";
  const ProgramResult result = run_program(
      {"train", config, "--force", "--set", "columns={messages: conversations, role: from, content: value}"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_TRUE(file_text(folder.path() / "run/medusa_heads.safetensors") == heads);
}

TEST(Program, ConsoleSeparatesResultsFromLogs) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  const ProgramResult result = run_program({"train", (folder.path() / "run.yaml").string()});
  EXPECT_THAT(result.out, Not(HasSubstr("info:")));
  EXPECT_THAT(result.err, Not(HasSubstr("\x1b")));  // no terminal, no bar
  EXPECT_THAT(result.err, HasSubstr("info: step 8/8  loss "));
  EXPECT_TRUE(fs::exists(folder.path() / "run" / "prepared" / "dataset.h5"));
}

}  // namespace
}  // namespace gorgon
