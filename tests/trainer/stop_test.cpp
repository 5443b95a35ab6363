// SIGTERM and SIGINT to real processes, at work on every kind of thing: what is unfinished is left, what is
// finished is saved, the status is 75, and the same command goes on to the same bits.
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"
#include "tests/trainer/program.h"
#include "tests/trainer/run_comparison.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/checkpoint.h"
#include "trainer/reports.h"
#include "trainer/stop_signal.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  return names;
}

class Stop : public ::testing::Test {
 protected:
  Stop() { write_tiny_run(folder_.path()); }
  fs::path run() const { return folder_.path() / "run"; }
  fs::path prepared() const { return run() / "prepared"; }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }

  void write_rows(const std::string& file, int rows) const { std::ofstream(at(file)) << tiny_chats(0, rows); }

  std::vector<std::string> train(const std::vector<std::string>& keys) const {
    std::vector<std::string> arguments{"train", at("run.yaml")};
    for (const std::string& key : keys) arguments.insert(arguments.end(), {"--set", key});
    return arguments;
  }
  // The uninterrupted run, moved aside: its directory's name is part of its state.
  fs::path reference(const std::vector<std::string>& arguments) const {
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    fs::rename(run(), at("reference"));
    return at("reference");
  }
  // Starts the program, waits until `ready`, gives it time to be in the midst of what follows, and signals.
  static ProgramResult stopped(const std::vector<std::string>& arguments, const std::function<bool()>& ready,
                               const std::vector<int>& signals = {SIGTERM}) {
    Program program(arguments);
    while (program.running() && !ready()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    for (const int number : signals) program.signal(number);
    return program.wait();
  }
  std::function<bool()> exists(const fs::path& path) const {
    return [path] { return fs::exists(path); };
  }
  std::function<bool()> steps_done(size_t steps) const {
    return [this, steps] { return metrics_of(run()).size() >= steps; };
  }
  void expect_resumes(const std::vector<std::string>& arguments, const fs::path& whole, int steps) const {
    const ProgramResult result = run_program(arguments);
    ASSERT_EQ(result.status, 0) << result.err;
    expect_same_run(run(), whole, steps);
  }

  TemporaryDirectory folder_;
  // Steps and evaluations long enough to be met in their midst.
  const std::vector<std::string> long_steps_{"max_steps=3", "save_steps=0", "eval_steps=0",
                                             "global_batch_size=1000", "save_total_limit=2"};
};

TEST_F(Stop, WhileLoading) {
  const auto arguments = train({});
  const fs::path whole = reference(arguments);
  const ProgramResult result = stopped(arguments, exists(run() / ".lock"));
  EXPECT_EQ(result.status, 75) << result.err;
  EXPECT_THAT(result.err, HasSubstr("stopped by SIGTERM"));
  expect_resumes(arguments, whole, 8);
}

TEST_F(Stop, WhilePreparing) {
  write_rows("train.jsonl", 60000);
  for (const std::string command : {"prepare", "train"}) {
    const ProgramResult result =
        stopped({command, at("run.yaml")}, exists(prepared() / "eval-eval.h5"), {SIGINT});
    EXPECT_EQ(result.status, 75) << result.err;
    EXPECT_THAT(result.err, HasSubstr("stopped by SIGINT"));
    EXPECT_THAT(names_in(run()), UnorderedElementsAre("prepared"));
    EXPECT_THAT(names_in(prepared()), UnorderedElementsAre("eval-eval.h5", "eval-eval.h5.prompts"));
    fs::remove_all(run());
  }
}

TEST_F(Stop, InTheMidstOfAStep) {
  write_rows("train.jsonl", 4000);
  const auto arguments = train(long_steps_);
  const fs::path whole = reference(arguments);
  const ProgramResult result = stopped(arguments, steps_done(2));
  EXPECT_EQ(result.status, 75) << result.err;
  EXPECT_EQ(metrics_of(run()).size(), 2u) << "the third step was finished";
  EXPECT_EQ(load_training_state(run() / "checkpoint-2").step, 2);
  expect_resumes(arguments, whole, 3);
}

TEST_F(Stop, InTheMidstOfAnEvaluation) {
  write_rows("eval.jsonl", 4000);
  const auto arguments = train({"max_steps=3", "save_steps=0", "eval_steps=2"});
  const fs::path whole = reference(arguments);
  for (const size_t lines : {2, 4}) {  // the periodic evaluation behind step 2, the last one behind step 3
    const ProgramResult result = stopped(arguments, steps_done(lines));
    EXPECT_EQ(result.status, 75) << result.err;
    EXPECT_EQ(metrics_of(run()).size(), lines) << "the evaluation was finished";
    const int64_t step = lines == 2 ? 2 : 3;
    EXPECT_LT(load_training_state(run() / ("checkpoint-" + std::to_string(step))).evaluated_step, step);
  }
  expect_resumes(arguments, whole, 3);
}

TEST_F(Stop, WhenTheTimeOfTheRunIsUp) {
  const ProgramResult result =
      run_program(train({"max_steps=1000000", "save_steps=0", "eval_steps=0", "max_run_time=2s"}));
  EXPECT_EQ(result.status, 75) << result.err;
  EXPECT_THAT(result.err, HasSubstr("stopped by max_run_time; the same command goes on from here"));
  ASSERT_EQ(list_checkpoints(run()).size(), 1u);
  EXPECT_EQ(list_checkpoints(run())[0].step, std::ssize(metrics_of(run())));
}

// `timeout` sends a signal to the process and to its group, mpirun SIGTERM to ranks that are stopping: the
// same request twice.
TEST(StopSignal, IsTheSameRequestWithinItsTimeAndEndsTheProcessAfterIt) {
  const auto ask = [](std::chrono::milliseconds pause, int again = SIGINT) {
    const StopSignal stop;
    raise(SIGTERM);
    std::this_thread::sleep_for(pause);
    raise(again);
    _exit(stop.requested() && std::string_view(stop.name()) == "SIGTERM" ? 75 : 1);
  };
  EXPECT_EXIT(ask(std::chrono::milliseconds(0)), testing::ExitedWithCode(75), "");
  EXPECT_EXIT(ask(std::chrono::milliseconds(1100)), testing::KilledBySignal(SIGINT), "");
  EXPECT_EXIT(ask(std::chrono::milliseconds(1100), SIGTERM), testing::ExitedWithCode(75), "");
  EXPECT_EXIT(ask(std::chrono::milliseconds(5100), SIGTERM), testing::KilledBySignal(SIGTERM), "");
}

// While it rests a signal does what it did before; what came until then is forgotten when it listens again.
TEST(StopSignal, RestsWhileAPersonIsWaitedFor) {
  StopSignal stop;
  raise(SIGINT);
  EXPECT_TRUE(stop.requested());
  EXPECT_TRUE(stop.is_interrupt());
  stop.rest();
  stop.listen();
  EXPECT_FALSE(stop.requested());
  raise(SIGINT);  // the first one again, though a second has come
  EXPECT_TRUE(stop.is_interrupt());
  stop.listen();
  raise(SIGTERM);
  EXPECT_TRUE(stop.requested());
  EXPECT_FALSE(stop.is_interrupt());
  stop.rest();
  EXPECT_EXIT(raise(SIGINT), testing::KilledBySignal(SIGINT), "");
}

TEST_F(Stop, KilledASecondAfterTheSignal) {
  write_rows("train.jsonl", 4000);
  const auto arguments = train(long_steps_);
  const fs::path whole = reference(arguments);
  Program program(arguments);
  while (program.running() && metrics_of(run()).empty()) std::this_thread::yield();
  program.signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  program.signal(SIGKILL);
  const int status = program.wait().status;
  EXPECT_TRUE(status == 75 || status == -SIGKILL) << status;
  expect_resumes(arguments, whole, 3);
}

TEST_F(Stop, DistillGoesOnToTheSameRows) {
  write_rows("train.jsonl", 600);
  const std::vector<std::string> arguments{"distill", at("run.yaml"), "--output", at("own.jsonl")};
  ASSERT_EQ(run_program(arguments).status, 0);
  const std::string whole = file_text(at("own.jsonl"));
  for (const char* name : {"own.jsonl", "own.jsonl.distill.json"}) fs::remove(at(name));
  const ProgramResult result =
      stopped(arguments, [&] { return file_text(at("own.jsonl.partial")).size() > 1000; });
  EXPECT_EQ(result.status, 75) << result.err;
  EXPECT_FALSE(fs::exists(at("own.jsonl")));
  ASSERT_EQ(run_program(arguments).status, 0);
  EXPECT_TRUE(file_text(at("own.jsonl")) == whole);
}

// kill -9 again and again, wherever it falls: in loading, between rows, in the midst of writing one.
TEST_F(Stop, DistillKilledAnywhereLosesAndRepeatsNoRow) {
  write_rows("train.jsonl", 300);
  const std::vector<std::string> arguments{"distill",    at("run.yaml"), "--set",
                                           "bf16=false", "--output",     at("own.jsonl")};
  ASSERT_EQ(run_program(arguments).status, 0);
  const std::string whole = file_text(at("own.jsonl"));
  for (const char* name : {"own.jsonl", "own.jsonl.distill.json"}) fs::remove(at(name));

  std::mt19937 generator(3);
  int kills = 0;
  for (size_t next = 0; next < whole.size(); next += 1 + generator() % (whole.size() / 6)) {
    Program program(arguments);
    while (program.running() && file_text(at("own.jsonl.partial")).size() < next) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(generator() % 5000));
    program.signal(SIGKILL);
    kills += program.wait().status == -SIGKILL ? 1 : 0;
    const std::string so_far = file_text(at("own.jsonl.partial"));
    EXPECT_TRUE(whole.starts_with(so_far)) << "at " << so_far.size();
  }
  EXPECT_GE(kills, 3);
  ASSERT_EQ(run_program(arguments).status, 0);
  EXPECT_TRUE(file_text(at("own.jsonl")) == whole);
}

// kill -9 of `gorgon cache` again and again: the finished shards are kept, and the file gets the same bytes.
TEST_F(Stop, CacheKilledAnywhereGoesOnToTheSameBytes) {
  write_rows("train.jsonl", 4000);
  const std::vector<std::string> arguments{"cache",      at("run.yaml"), "--set",
                                           "bf16=false", "--cache",      at("states.h5")};
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(run_program(arguments).status, 0);
  const auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  const std::string whole = file_text(at("states.h5"));
  fs::remove(at("states.h5"));
  std::mt19937 generator(5);
  int kills = 0;
  for (int round = 0; round < 5; ++round) {
    Program program(arguments);
    std::this_thread::sleep_for(took * (generator() % 100) / 120);
    program.signal(SIGKILL);
    kills += program.wait().status == -SIGKILL ? 1 : 0;
    EXPECT_TRUE(!fs::exists(at("states.h5")) || file_text(at("states.h5")) == whole);
  }
  EXPECT_GE(kills, 1);
  ASSERT_EQ(run_program(arguments).status, 0);
  EXPECT_TRUE(file_text(at("states.h5")) == whole);
}

TEST_F(Stop, EvalWritesNothing) {
  write_rows("train.jsonl", 4000);
  ASSERT_EQ(run_program(train({"max_steps=1"})).status, 0);
  Program program({"eval", run().string(), "--data", at("train.jsonl"), "--output", at("report.json")});
  // Said between the labels and the first answer.
  const std::string decoding_begins = "the heads were trained on this file";
  while (program.running() && program.err_so_far().find(decoding_begins) == std::string::npos) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  program.signal(SIGTERM);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.status, 75) << result.err;
  EXPECT_FALSE(fs::exists(at("report.json")));
}

}  // namespace
}  // namespace gorgon
