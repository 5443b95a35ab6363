#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"
#include "tests/ranks/job.h"
#include "tests/trainer/program.h"
#include "tests/trainer/tiny_run.h"

// Ranks that were given different things stop before they begin, and say which.

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Agreement : public testing::Test {
 protected:
  Agreement() {
    write_tiny_run(folder_.path());
    std::ofstream(folder_.path() / "prompts.jsonl") << tiny_chats(2000, 4);
  }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }

  // The first `from` of a file becomes `to`.
  static void change(const fs::path& path, const std::string& from, const std::string& to) {
    std::string text = file_text(path);
    const size_t found = text.find(from);
    ASSERT_NE(found, std::string::npos) << path;
    std::ofstream(path) << text.replace(found, from.size(), to);
  }
  // run-R.yaml of each of two ranks.
  void write_configs(const std::string& from, const std::string& to) const {
    for (const char* name : {"run-0.yaml", "run-1.yaml"})
      fs::copy_file(at("run.yaml"), at(name), fs::copy_options::overwrite_existing);
    change(at("run-1.yaml"), from, to);
  }

  // Both run `command` in a shell, where $RANK is their number.
  JobResult run(const std::string& command) const {
    Job job(Launcher::variables, 2, "bash", {"-c", "exec " + command});
    return job.wait();
  }
  void expect_refusal(const std::string& command, int status, const std::string& line) const {
    const JobResult result = run(command);
    EXPECT_EQ(result.statuses, (std::vector<int>{status, status})) << result.err;
    EXPECT_THAT(result.err, HasSubstr(line));
    EXPECT_EQ(result.err.find("error: "), result.err.rfind("error: ")) << result.err;
    EXPECT_FALSE(fs::exists(at("run/metrics.jsonl")));
  }
  std::string train() const { return fmt::format("{} train {}/run-$RANK.yaml", GORGON_PROGRAM, at("")); }

  TemporaryDirectory folder_;
};

TEST_F(Agreement, OnEveryKey) {
  write_configs("learning_rate: 1e-2", "learning_rate: 2e-2");
  expect_refusal(train(), 2, "learning_rate: expected 0.01 as on rank 0, found 0.02");
}

TEST_F(Agreement, OnTheCommand) {
  const std::string config = at("run.yaml");
  expect_refusal(fmt::format("bash -c 'words=(\"train {0}\" \"distill {0} --output {1}\"); "
                             "GORGON_JOB=one exec {2} ${{words[$RANK]}}'",
                             config, at("own.jsonl"), GORGON_PROGRAM),
                 2, "command: expected train as on rank 0, found distill");
}

TEST_F(Agreement, OnTheModel) {
  fs::copy(at("model"), at("model-of-1"), fs::copy_options::recursive);
  write_configs("/model\n", "/model-of-1\n");
  JobResult result = run(train());
  EXPECT_EQ(result.statuses, (std::vector<int>{0, 0})) << result.err;  // where it lies does not matter
  fs::remove_all(at("run"));
  write_final_norm(folder_.path(), 1.25f);  // of rank 0's alone
  expect_refusal(train(), 3, "model fingerprint: expected ");
}

// The fingerprint is of the weights; what else lies beside them decides on the result too.
TEST_F(Agreement, OnTheModelsOtherFiles) {
  fs::copy(at("model"), at("model-of-1"), fs::copy_options::recursive);
  write_configs("/model\n", "/model-of-1\n");
  struct Case {
    std::string file, from, to, line;
  };
  for (const auto& [file, from, to, line] :
       {Case{"config.json", "5000.0", "10000.0", "rope_theta: expected 5000 as on rank 0, found 10000"},
        {"config.json", "1e-5", "1e-6", "rms_norm_eps: expected "},
        {"tokenizer.json", "\"lstrip\":false", "\"lstrip\":true", "tokenizer: expected SHA-256 "},
        {"tokenizer_config.json", "assistant", "helper", "chat template: expected SHA-256 "}}) {
    SCOPED_TRACE(line);
    const std::string path = at("model-of-1/" + file), text = file_text(path);
    change(path, from, to);
    expect_refusal(train(), 3, line);
    EXPECT_FALSE(fs::exists(at("run/prepared")));
    std::ofstream(path) << text;
  }
  change(at("model-of-1/tokenizer_config.json"), "assistant", "helper");
  const std::string line = "chat template: expected SHA-256 ";
  expect_refusal(fmt::format("env GORGON_JOB=one {} distill {}-$RANK.yaml --output {}", GORGON_PROGRAM,
                             at("run"), at("own.jsonl")),
                 3, line);
  ASSERT_EQ(run_program({"train", at("run.yaml"), "--set", "output_dir=" + at("done")}).status, 0);
  fs::create_directory_symlink(at("model"), at("model-of-0"));
  expect_refusal(fmt::format("{} eval {} --data {} --model {}-of-$RANK", GORGON_PROGRAM, at("done"),
                             at("prompts.jsonl"), at("model")),
                 3, line);
}

TEST_F(Agreement, OnTheVersion) {
  write_configs("max_steps", "max_steps");
  const std::string choose =
      fmt::format("bash -c 'programs=({} {}); exec ${{programs[$RANK]}} train {}/run.yaml'", GORGON_PROGRAM,
                  GORGON_OTHER_VERSION, at(""));
  expect_refusal(choose, 2, "version: expected ");
}

// Only rank 0 reads the data: another machine need not have any, but what it has is the same.
TEST_F(Agreement, OnTheData) {
  write_configs("/train.jsonl", "/nowhere.jsonl");
  const JobResult result = run(train());
  ASSERT_EQ(result.statuses, (std::vector<int>{0, 0})) << result.err;
  const std::string heads = file_text(at("run/medusa_heads.safetensors"));
  fs::remove_all(at("run"));
  fs::copy_file(at("train.jsonl"), at("copy.jsonl"));
  write_configs("/train.jsonl", "/copy.jsonl");
  ASSERT_EQ(run(train()).statuses, (std::vector<int>{0, 0}));
  EXPECT_TRUE(heads == file_text(at("run/medusa_heads.safetensors")));
  fs::remove_all(at("run"));
  std::ofstream(at("copy.jsonl"), std::ios::app) << tiny_chats(5000, 1);
  expect_refusal(train(), 4, "train_dataset_path: expected ");
  EXPECT_FALSE(fs::exists(at("run/prepared")));
  std::ofstream(at("copy.jsonl")) << tiny_chats(5000, 1);
  write_configs("/eval.jsonl", "/copy.jsonl");
  expect_refusal(train(), 4, "eval_dataset_path eval: expected ");
}

// Before anything long begins: what differs is told before any data is prepared.
TEST_F(Agreement, ComesBeforeThePreparation) {
  fs::copy(at("model"), at("model-of-1"), fs::copy_options::recursive);
  write_configs("/model\n", "/model-of-1\n");
  write_final_norm(folder_.path(), 1.25f);
  // The last line cannot be read: rank 0 would stop there.
  std::ofstream(at("train.jsonl"), std::ios::app) << "{";
  expect_refusal(train(), 3, "model fingerprint: expected ");
}

TEST_F(Agreement, OfDistillAndEvalOnTheirArguments) {
  const std::string distill =
      fmt::format("{} distill {} --output {} --seed $RANK", GORGON_PROGRAM, at("run.yaml"), at("own.jsonl"));
  expect_refusal(distill, 2, "--seed: expected 0 as on rank 0, found 1");
  EXPECT_FALSE(fs::exists(at("own.jsonl.partial")));

  ASSERT_EQ(run_program({"train", at("run.yaml"), "--set", "output_dir=" + at("done")}).status, 0);
  const std::string data = fmt::format(" --data {} --output {}", at("prompts.jsonl"), at("eval.json"));
  expect_refusal(fmt::format("{} eval {} --limit $((RANK + 3)){}", GORGON_PROGRAM, at("done"), data), 2,
                 "--limit: expected 3 as on rank 0, found 4");
  expect_refusal(fmt::format("env GORGON_JOB=one {} eval {}/done/checkpoint-$((RANK + 7)){}", GORGON_PROGRAM,
                             at(""), data),
                 5, "heads: expected SHA-256 ");
  EXPECT_FALSE(fs::exists(at("eval.json")));
}

}  // namespace
}  // namespace gorgon
