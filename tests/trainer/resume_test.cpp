// Stop it anywhere, with anything: it goes on to the same bits. Real processes of the real program.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/data/temporary_directory.h"
#include "tests/trainer/program.h"
#include "tests/trainer/run_comparison.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/checkpoint.h"
#include "trainer/reports.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class Resume : public ::testing::Test {
 protected:
  Resume() { write_tiny_run(folder_.path()); }
  fs::path run() const { return folder_.path() / "run"; }
  std::string config() const { return (folder_.path() / "run.yaml").string(); }
  // The uninterrupted run, moved aside: its directory's name is part of its state.
  fs::path reference(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"train", config()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    fs::rename(run(), folder_.path() / "reference");
    return folder_.path() / "reference";
  }
  // Copies what a run was when it had saved `step` and been killed a little later.
  void copy_stopped_behind(const fs::path& from, int64_t step) const {
    fs::remove_all(run());
    fs::copy(from, run(), fs::copy_options::recursive);
    fs::remove(run() / "medusa_heads.safetensors");
    for (const CheckpointName& checkpoint : list_checkpoints(run())) {
      if (checkpoint.step > step) fs::remove_all(checkpoint.path);
    }
  }

  TemporaryDirectory folder_;
};

TEST_F(Resume, GoesOnToTheSameBitsFromEveryStep) {
  const fs::path whole = reference();
  ASSERT_EQ(metrics_of(whole).size(), 12u);  // eight steps, four evaluations
  for (const int64_t step : {1, 2, 3, 5, 7, 8}) {
    copy_stopped_behind(whole, step);
    const ProgramResult result = run_program({"train", config()});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("resumes behind step " + std::to_string(step) + " of 8"));
    expect_same_run(run(), whole, 8);
  }
}

// The comparison can fail: without the moments, or with another place in the data, the bits differ.
TEST_F(Resume, ControlsThatMustDiffer) {
  const fs::path whole = reference();
  copy_stopped_behind(whole, 3);
  const TrainingState state = load_training_state(run() / "checkpoint-3");
  for (const bool moments : {true, false}) {
    fs::remove_all(run());
    fs::create_directories(run());
    TrainingState changed = state;
    if (!moments) changed.loader.cursor = 0;
    if (moments) changed.adam_steps = 0;
    save_checkpoint(run(), changed, [&](const fs::path& to) {
      fs::copy(whole / "checkpoint-3" / "medusa_heads.safetensors", to);
      fs::copy(whole / "checkpoint-3" / "optimizer.safetensors", to);
    });
    const ProgramResult result = run_program({"train", config()});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_FALSE(file_text(run() / "medusa_heads.safetensors") ==
                 file_text(whole / "medusa_heads.safetensors"));
  }
}

TEST_F(Resume, SigtermSavesAndTheSameCommandGoesOn) {
  const std::vector<std::string> few_saves{"--set",        "max_steps=60", "--set",
                                           "save_steps=0", "--set",        "eval_steps=50"};
  const fs::path whole = reference(few_saves);
  std::vector<std::string> arguments{"train", config()};
  arguments.insert(arguments.end(), few_saves.begin(), few_saves.end());
  int stops = 0;
  for (ProgramResult result; result.status != 0;) {
    Program program(arguments);
    const size_t before = file_text(run() / kMetricsFile).size();
    while (program.running() && file_text(run() / kMetricsFile).size() < before + 1500)
      std::this_thread::yield();
    program.signal(SIGTERM);
    result = program.wait();
    ASSERT_TRUE(result.status == 0 || result.status == 75) << result.status << result.err;
    stops += result.status == 75 ? 1 : 0;
    ASSERT_LT(stops, 50);
  }
  EXPECT_GT(stops, 0);
  expect_same_run(run(), whole, 60);
}

// A hundred, or as many as GORGON_TEST_KILLS says.
TEST_F(Resume, KillsAtRandomMoments) {
  const char* wanted = std::getenv("GORGON_TEST_KILLS");  // NOLINT: no other thread is there
  const int most = wanted != nullptr ? std::atoi(wanted) : 100;
  const std::vector<std::string> more{"--set",        "max_steps=40", "--set",
                                      "save_steps=4", "--set",        "eval_steps=8"};
  const auto start = std::chrono::steady_clock::now();
  const fs::path whole = reference(more);
  const auto duration = std::chrono::steady_clock::now() - start;
  std::vector<std::string> arguments{"train", config()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  std::mt19937 random(20);  // NOLINT: the moments are to be the same ones in every run of the test
  int kills = 0, finished = 0;
  while (kills < most || finished == 0) {
    Program program(arguments);
    if (kills < most) {
      std::this_thread::sleep_for(duration * std::uniform_real_distribution<double>(0, 1)(random));
      program.signal(SIGKILL);
    }
    const ProgramResult result = program.wait();
    if (result.status == -SIGKILL) {
      ++kills;
      continue;
    }
    ASSERT_EQ(result.status, 0) << result.err;
    expect_same_run(run(), whole, 40);
    ++finished;
    fs::remove_all(run());
  }
}

// What may have become of a run that had saved step 5, and what the next start says.
struct Found {
  const char* name;
  std::function<void(const fs::path& run)> happen;
  std::vector<std::string> says;
};

std::vector<Found> what_may_be_found() {
  const auto overwrite = [](const fs::path& run, const std::function<void(std::string&)>& change) {
    const fs::path file = run / "checkpoint-5/optimizer.safetensors";
    std::string bytes = file_text(file);
    change(bytes);
    std::ofstream(file, std::ios::binary) << bytes;
  };
  const std::vector<std::string> passed_over{"checkpoint-5 is damaged and passed over",
                                             "resumes behind step 4 of 8"};
  return {
      {"truncated", [=](const fs::path& run) { overwrite(run, [](auto& bytes) { bytes.resize(100); }); },
       passed_over},
      {"zeroed",
       [=](const fs::path& run) { overwrite(run, [](auto& bytes) { bytes.assign(bytes.size(), '\0'); }); },
       passed_over},
      {"one bit flipped",
       [=](const fs::path& run) { overwrite(run, [](auto& bytes) { bytes[bytes.size() / 2] ^= 4; }); },
       passed_over},
      {"a copy under a later name",
       [](const fs::path& run) { fs::copy(run / "checkpoint-2", run / "checkpoint-7"); },
       {"checkpoint-7 is damaged and passed over: ",
        "expected the checkpoint of step 7, found that of step 2", "resumes behind step 5 of 8"}},
      {"a clock set back",
       [](const fs::path& run) {
         for (const auto& file : fs::directory_iterator(run / "checkpoint-5")) {
           fs::last_write_time(file.path(), fs::file_time_type::clock::now() - std::chrono::hours(9999));
         }
         fs::last_write_time(run / "checkpoint-5",
                             fs::file_time_type::clock::now() - std::chrono::hours(9999));
       },
       {"resumes behind step 5 of 8"}},
      {"killed while saving, and in the midst of a record",
       [](const fs::path& run) {
         fs::copy(run / "checkpoint-5", run / ".checkpoint-6.tmp");
         for (const char* name : {kEventFile, kMetricsFile}) {
           const std::string half = file_text(run / name).substr(0, 20);
           std::ofstream(run / name, std::ios::app | std::ios::binary) << half;
         }
       },
       {"removed .checkpoint-6.tmp, which an interrupted run left behind", "resumes behind step 5 of 8"}},
  };
}

TEST_F(Resume, WhateverIsFoundItEndsInTheSameBits) {
  const fs::path whole = reference();
  for (const Found& found : what_may_be_found()) {
    SCOPED_TRACE(found.name);
    copy_stopped_behind(whole, 5);
    found.happen(run());
    const ProgramResult result = run_program({"train", config()});
    ASSERT_EQ(result.status, 0) << result.err;
    for (const std::string& part : found.says) EXPECT_THAT(result.err, HasSubstr(part));
    expect_same_run(run(), whole, 8);
  }
}

// States that overflow: no evaluation gives a number, none is the best, and the run goes on all the same.
TEST_F(Resume, MetricsThatAreNoNumbersAreNeverTheBest) {
  write_final_norm(folder_.path(), 3e38f);
  const std::vector<std::string> more{"--set", "max_steps=4",
                                      "--set", "eval_steps=1",
                                      "--set", "load_best_model_at_end=true",
                                      "--set", "report_to=none",
                                      "--set", "metric_for_best_model=eval_loss"};
  const fs::path whole = reference(more);
  EXPECT_TRUE(metrics_of(whole).back()["eval_loss"].is_null());
  EXPECT_EQ(load_training_state(whole / "checkpoint-4").best_step, 0);
  copy_stopped_behind(whole, 2);
  std::vector<std::string> arguments{"train", config()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ProgramResult result = run_program(arguments);
  ASSERT_EQ(result.status, 0) << result.err;
  expect_same_run(run(), whole, 4);
  arguments.insert(arguments.end(), {"--force", "--set", "early_stopping_patience=2"});
  const ProgramResult stopped = run_program(arguments);
  EXPECT_THAT(stopped.err, HasSubstr("stops early at step 2: 2 evaluations without a finite eval_loss"));
}

TEST_F(Resume, NoWholeCheckpointNeverStartsFromZeroInSilence) {
  const fs::path whole = reference();
  copy_stopped_behind(whole, 1);
  fs::remove(run() / "checkpoint-1" / "state.json");
  const ProgramResult result = run_program({"train", config()});
  EXPECT_EQ(result.status, 5);
  EXPECT_THAT(result.err, HasSubstr("only damaged ones: checkpoint-1"));
  EXPECT_TRUE(fs::exists(run() / "checkpoint-1"));
}

TEST_F(Resume, OtherConfigModelOrDataIsRefused) {
  const fs::path whole = reference();
  copy_stopped_behind(whole, 3);
  const std::string before = file_text(run() / kMetricsFile);
  ProgramResult result = run_program({"train", config(), "--set", "learning_rate=2e-2", "--set", "seed=7"});
  EXPECT_EQ(result.status, 5);
  EXPECT_THAT(result.err, HasSubstr("learning_rate: 0.01 -> 0.02"));
  EXPECT_THAT(result.err, HasSubstr("seed: 42 -> 7"));

  std::ofstream(folder_.path() / "train.jsonl", std::ios::app) << tiny_chats(500, 1);
  result = run_program({"train", config()});
  EXPECT_EQ(result.status, 4);
  EXPECT_THAT(result.err,
              ContainsRegex("training data: expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}; "));
  std::ofstream(folder_.path() / "train.jsonl") << tiny_chats(0, 60);

  std::fstream weights(folder_.path() / "model" / "model.safetensors",
                       std::ios::in | std::ios::out | std::ios::binary);
  weights.seekp(-4, std::ios::end).write("\0\0\0\0", 4);
  weights.close();
  result = run_program({"train", config()});
  EXPECT_EQ(result.status, 5);
  EXPECT_THAT(result.err, HasSubstr("model: expected fingerprint "));
  EXPECT_EQ(file_text(run() / kMetricsFile), before);
}

TEST_F(Resume, FinishedRunSaysSo) {
  ASSERT_EQ(run_program({"train", config()}).status, 0);
  const auto written = fs::last_write_time(run() / "medusa_heads.safetensors");
  const ProgramResult again = run_program({"train", config()});
  EXPECT_EQ(again.status, 0);
  EXPECT_THAT(again.err, HasSubstr("this run is done"));
  EXPECT_THAT(again.out, HasSubstr((run() / "medusa_heads.safetensors").string()));
  EXPECT_EQ(fs::last_write_time(run() / "medusa_heads.safetensors"), written);

  EXPECT_EQ(run_program({"train", config(), "--resume", "never"}).status, 2);
  EXPECT_EQ(run_program({"train", config(), "--set", "learning_rate=1"}).status, 5);
  EXPECT_EQ(run_program({"train", config(), "--force", "--set", "max_steps=2"}).status, 0);
  EXPECT_EQ(metrics_of(run()).size(), 3u);  // two steps, one evaluation
}

TEST_F(Resume, FromACheckpointByPath) {
  const fs::path whole = reference();
  fs::copy(whole, run(), fs::copy_options::recursive);
  const ProgramResult result =
      run_program({"train", config(), "--resume", (run() / "checkpoint-3").string()});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("resumes behind step 3 of 8"));
  expect_same_run(run(), whole, 8);
}

TEST_F(Resume, SecondTrainerIsToldWhoHoldsTheRun) {
  Program first(
      {"train", config(), "--set", "max_steps=100000", "--set", "save_steps=0", "--set", "eval_steps=0"});
  while (first.running() && file_text(run() / kMetricsFile).empty()) std::this_thread::yield();
  const ProgramResult second = run_program({"train", config()});
  EXPECT_EQ(second.status, 6);
  EXPECT_THAT(second.err, HasSubstr("in use by process "));
  first.signal(SIGINT);
  EXPECT_EQ(first.wait().status, 75);
}

// A learning rate this large only makes things worse after the first steps, so the best one is early. More is
// better for an accepted length and less for a loss; a tie goes to the earlier evaluation.
TEST_F(Resume, EarlyStopAndBestModel) {
  for (const std::string metric : {"eval_accept_length", "eval_loss"}) {
    const double sign = metric == "eval_loss" ? -1 : 1;
    const ProgramResult result = run_program({"train",
                                              config(),
                                              "--force",
                                              "--set",
                                              "metric_for_best_model=" + metric,
                                              "--set",
                                              "learning_rate=5",
                                              "--set",
                                              "max_steps=40",
                                              "--set",
                                              "eval_steps=1",
                                              "--set",
                                              "early_stopping_patience=3",
                                              "--set",
                                              "load_best_model_at_end=true",
                                              "--set",
                                              "save_total_limit=2",
                                              "--set",
                                              "lr_scheduler_type=constant_with_warmup",
                                              "--set",
                                              "save_steps=0"});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("stops early at step "));
    EXPECT_THAT(result.err, HasSubstr("exports the heads of step "));
    double best = -1e9;
    int64_t best_step = 0, last_step = 0;
    for (const json& line : metrics_of(run())) {
      last_step = line["step"];
      if (!line.contains(metric) || sign * line[metric].get<double>() <= best) continue;
      best = sign * line[metric].get<double>();
      best_step = line["step"];
    }
    EXPECT_EQ(last_step, best_step + 3) << metric;
    // The exported heads are those of the best checkpoint, which pruning kept.
    EXPECT_TRUE(file_text(run() / "medusa_heads.safetensors") ==
                file_text(run() / ("checkpoint-" + std::to_string(best_step)) / "medusa_heads.safetensors"));
  }
}

TEST_F(Resume, ATieGoesToTheEarlierCheckpointAndFewPromptsAreSaid) {
  const ProgramResult result =
      run_program({"train", config(), "--set", "learning_rate=0", "--set", "eval_steps=1", "--set",
                   "early_stopping_patience=4", "--set", "load_best_model_at_end=true"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("6 prompts are few to choose a checkpoint by eval_accept_length"));
  EXPECT_THAT(result.err, HasSubstr("stops early at step 5: 4 evaluations without a better"));
  EXPECT_THAT(result.err, HasSubstr("exports the heads of step 1, the best by eval_accept_length"));
}

TEST_F(Resume, AnotherMetricForgetsTheBestOfTheOldOne) {
  const fs::path whole = reference();
  copy_stopped_behind(whole, 4);
  const ProgramResult result = run_program({"train", config(), "--set", "metric_for_best_model=eval_loss"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("chooses by eval_loss from here on, no longer by eval_accept_length"));
  EXPECT_GT(load_training_state(run() / "checkpoint-8").best_step, 4);
}

}  // namespace
}  // namespace gorgon
