#include <csignal>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tests/data/temporary_directory.h"
#include "tests/ranks/job.h"
#include "tests/trainer/program.h"
#include "tests/trainer/tiny_run.h"

// eval and distill as several real processes, and the evaluation inside training: what they write is what one
// process writes.

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

// Prompts that keep three ranks busy for seconds, so that a signal comes in the midst of them.
#ifdef __SANITIZE_ADDRESS__
constexpr int64_t kMany = 3000;
#else
constexpr int64_t kMany = 10000;
#endif

class DividedWork : public testing::Test {
 protected:
  DividedWork() {
    write_tiny_run(folder_.path());
    std::ofstream(folder_.path() / "prompts.jsonl") << tiny_chats(2000, 23);
  }

  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string text_at(const std::string& name) const { return file_text(folder_.path() / name); }
  static Launcher launcher() { return can_launch(Launcher::mpirun) ? Launcher::mpirun : Launcher::variables; }

  void expect_run(const Words& words) const {
    const ProgramResult result = run_program(words);
    ASSERT_EQ(result.status, 0) << result.err;
  }
  JobResult expect_job(Launcher by, int ranks, const Words& words) const {
    Job job(by, ranks, GORGON_PROGRAM, words);
    JobResult result = job.wait();
    EXPECT_EQ(result.statuses, std::vector<int>(static_cast<size_t>(ranks), 0)) << result.err;
    return result;
  }

  // f32: what is said does not depend on which prompts share a batch.
  Words distill_words(const std::string& output, const std::string& data = "prompts.jsonl") const {
    return {"distill",
            at("run.yaml"),
            "--set",
            "train_dataset_path=" + at(data),
            "--set",
            "bf16=false",
            "--set",
            "ddp_timeout=4",
            "--output",
            at(output),
            "--max-new-tokens",
            "40"};
  }
  Words train_words(const std::string& run, const Words& values) const {
    Words words{"train", at("run.yaml"), "--set", "output_dir=" + at(run)};
    for (const std::string& value : values) words.insert(words.end(), {"--set", value});
    return words;
  }
  Words eval_words(const std::string& where, const std::string& output, const Words& more = {}) const {
    Words words{"eval",     at(where),  "--data",           at("prompts.jsonl"),
                "--output", at(output), "--max-new-tokens", "12"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  // A report without what a clock measured, and how many threads it measured with.
  json untimed(const std::string& name) const {
    json report = json::parse(text_at(name));
    for (const char* key :
         {"speedup", "overhead", "tau_over_overhead", "batches", "depths", "verdict", "threads"})
      report.erase(key);
    for (const char* draft : {"plain", "medusa", "lookup", "both"}) {
      if (!report.contains(draft)) continue;
      for (const char* key : {"tokens_per_s", "tokens_per_s_range", "latency_mean_s", "latency_median_s",
                              "latency_p90_s", "speedup", "overhead", "tau_over_overhead", "step_s",
                              "step_parts_s", "decode_mean_s", "prefill_mean_s", "prefill_tokens_per_s"})
        EXPECT_EQ(report[draft].erase(key), 1u) << key;
    }
    return report;
  }

  TemporaryDirectory folder_;
};

TEST_F(DividedWork, RowsOfDistillAreThoseOfOneProcess) {
  expect_run(distill_words("one.jsonl"));
  const std::string expected = text_at("one.jsonl");
  ASSERT_EQ(std::count(expected.begin(), expected.end(), '\n'), 23);
  for (const auto& [by, ranks] : {std::pair{launcher(), 2}, {launcher(), 3}, {Launcher::variables, 4}}) {
    SCOPED_TRACE(ranks);
    const std::string name = fmt::format("by-{}.jsonl", ranks);
    const JobResult result = expect_job(by, ranks, distill_words(name));
    EXPECT_TRUE(text_at(name) == expected);
    EXPECT_EQ(text_at(name + ".distill.json"), text_at("one.jsonl.distill.json"));
    EXPECT_EQ(result.out, fmt::format("wrote {} (23 rows)\n", at(name)));  // once
    for (int r = 0; r < ranks; ++r)
      EXPECT_TRUE(fs::exists(at(fmt::format("{}.logs/rank-{}.log", name, r)))) << r;
  }
  const JobResult again = expect_job(Launcher::variables, 2, distill_words("by-2.jsonl"));
  EXPECT_THAT(again.out, HasSubstr("already complete"));
}

TEST_F(DividedWork, DistillDrawsTheSameByAnyNumberOfRanks) {
  Words one = distill_words("one.jsonl"), two = distill_words("two.jsonl");
  for (Words* words : {&one, &two})
    words->insert(words->end(), {"--temperature", "1.3", "--top-p", "0.9", "--seed", "7"});
  two.insert(two.end(), {"--gpus", "2"});
  expect_run(one);
  expect_run(two);
  EXPECT_FALSE(text_at("one.jsonl").empty());
  EXPECT_TRUE(text_at("one.jsonl") == text_at("two.jsonl"));
}

TEST_F(DividedWork, ReportsOfEvalAreThoseOfOneProcess) {
  expect_run({"train", at("run.yaml"), "--set", "learning_rate=5e-2"});
  // A run in its own type, by the trainer's ops; a checkpoint in another one, by those of decoding; drafts at
  // a temperature.
  const std::vector<std::pair<std::string, Words>> cases{
      {"run", {}}, {"run/checkpoint-8", {"--dtype", "f32"}}, {"run", {"--temperature", "1", "--limit", "9"}}};
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(i);
    const auto& [where, more] = cases[i];
    expect_run(eval_words(where, "one.json", more));
    const json expected = untimed("one.json");
    EXPECT_EQ(expected.at("prompts"), i == 2 ? 9 : 23);
    const int ranks = i == 0 ? 3 : 2;
    const JobResult result =
        expect_job(i == 0 ? launcher() : Launcher::variables, ranks, eval_words(where, "several.json", more));
    EXPECT_EQ(untimed("several.json"), expected);
    EXPECT_EQ(result.out.find("against the labels of"), result.out.rfind("against the labels of"));
    for (int r = 0; r < ranks; ++r) {
      const std::string logs = where == "run" ? "run/logs" : "several.json.logs";
      EXPECT_TRUE(fs::exists(at(fmt::format("{}/rank-{}.log", logs, r)))) << r;
    }
  }
}

// Heads that never change, so that every rank and one process evaluate the same: all lines to the last bit,
// accepted lengths on the model's own answers among them, which ranks have made together.
// Divided heads add up ranges of the vocabulary, equal to rounding (heads_test.cpp); whole ones are equal.
TEST_F(DividedWork, EvaluationsInTrainingAreThoseOfOneProcess) {
  const auto words = [&](const std::string& run) {
    return train_words(
        run, {"eval_dataset_path=" + at("prompts.jsonl"), "learning_rate=0", "parallel_heads=replicate",
              "bf16=false", "global_batch_size=4", "per_device_eval_batch_size=1", "max_steps=2"});
  };
  const auto evaluations = [&](const std::string& run) {
    std::vector<json> lines;
    std::istringstream in(text_at(run + "/metrics.jsonl"));
    for (std::string line; std::getline(in, line);) {
      if (json::parse(line).contains("eval_loss")) lines.push_back(json::parse(line));
    }
    return lines;
  };
  expect_run(words("one"));
  const std::vector<json> expected = evaluations("one");
  ASSERT_EQ(expected.size(), 1u);
  EXPECT_TRUE(expected[0].contains("eval_accept_length"));
  for (const int ranks : {2, 3}) {
    const std::string run = fmt::format("run-{}", ranks);
    expect_job(launcher(), ranks, words(run));
    EXPECT_EQ(evaluations(run), expected);
    const std::string answers = "/prepared/own-answers-eval.jsonl";
    EXPECT_FALSE(text_at(run + answers).empty());
    EXPECT_TRUE(text_at(run + answers) == text_at("one" + answers));
  }
}

void wait_for(const std::function<bool()>& condition) {
  for (int i = 0; i < 6000 && !condition(); ++i) ::usleep(10000);
}

// Asked to stop, all ranks end with 75 together; one that is lost ends the others with 7. What is written
// stays, and the same command goes on to the bytes of one process.
TEST_F(DividedWork, AStoppedDistillGoesOnToTheSameRows) {
  std::ofstream(at("many.jsonl")) << tiny_chats(3000, kMany);
  expect_run(distill_words("one.jsonl", "many.jsonl"));
  for (const int signal : {SIGTERM, SIGKILL, SIGSTOP}) {
    SCOPED_TRACE(signal);
    const std::string name = fmt::format("signal-{}.jsonl", signal);
    Job job(launcher(), 3, GORGON_PROGRAM, distill_words(name, "many.jsonl"));
    wait_for([&] { return !text_at(name + ".partial").empty(); });
    job.signal_rank(1, signal);
    if (signal != SIGTERM) job.wait_for_statuses({0, 2});
    if (signal == SIGSTOP) job.kill_rank(1);
    const JobResult result = job.wait();
    if (signal == SIGTERM) {
      EXPECT_EQ(result.statuses, (std::vector<int>{75, 75, 75})) << result.err;
      EXPECT_THAT(result.err, HasSubstr("the same command goes on from here"));
    } else {
      EXPECT_EQ(result.statuses[0], 7) << result.err;
      EXPECT_EQ(result.statuses[2], 7) << result.err;
      EXPECT_THAT(result.err, HasSubstr("rank 1 on "));
      EXPECT_THAT(result.err, HasSubstr(": expected its part"));
    }
    EXPECT_FALSE(fs::exists(at(name)));
    const std::string kept = text_at(name + ".partial");
    EXPECT_FALSE(kept.empty());
    EXPECT_LT(kept.size(), text_at("one.jsonl").size());
    expect_job(Launcher::variables, 2, distill_words(name, "many.jsonl"));
    EXPECT_TRUE(text_at(name) == text_at("one.jsonl"));
  }
}

TEST_F(DividedWork, EvalStopsOnAllRanksTogether) {
  std::ofstream(at("many.jsonl")) << tiny_chats(3000, kMany);
  expect_run({"train", at("run.yaml")});
  Words words = eval_words("run", "stopped.json", {"--data", at("many.jsonl")});
  Job job(launcher(), 2, GORGON_PROGRAM, words);
  wait_for([&] { return fs::exists(at("run/logs/rank-1.log")); });
  ::usleep(300000);  // somewhere in its midst
  job.signal_rank(1, SIGTERM);
  const JobResult result = job.wait();
  EXPECT_EQ(result.statuses, (std::vector<int>{75, 75})) << result.err;
  EXPECT_FALSE(fs::exists(at("stopped.json")));
  EXPECT_FALSE(fs::exists(at("run/eval.json")));
}

// In the midst of an evaluation (of some seconds): the step behind it is saved, and goes on to the bytes of
// an undisturbed run.
TEST_F(DividedWork, ASignalStopsAnEvaluationOfAllRanks) {
  std::ofstream(at("more.jsonl")) << tiny_chats(3000, 3000);
  const auto words = [&](const std::string& run) {
    return train_words(run, {"eval_dataset_path=" + at("more.jsonl"), "metric_for_best_model=eval_loss",
                             "eval_steps=2", "max_steps=4", "per_device_eval_batch_size=1", "save_steps=0"});
  };
  expect_job(launcher(), 2, words("undisturbed"));
  Job job(launcher(), 2, GORGON_PROGRAM, words("run"));
  wait_for([&] { return text_at("run/metrics.jsonl").find("\"step\":2") != std::string::npos; });
  job.signal_rank(1, SIGTERM);
  EXPECT_EQ(job.wait().statuses, (std::vector<int>{75, 75}));
  EXPECT_TRUE(fs::exists(at("run/checkpoint-2")));
  EXPECT_EQ(text_at("run/metrics.jsonl").find("eval_loss"), std::string::npos);
  expect_job(launcher(), 2, words("run"));
  for (const char* file : {"medusa_heads.safetensors", "checkpoint-4/optimizer.safetensors"})
    EXPECT_TRUE(text_at(std::string("run/") + file) == text_at(std::string("undisturbed/") + file)) << file;
}

}  // namespace
}  // namespace gorgon
