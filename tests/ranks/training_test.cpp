#include <csignal>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/ranks/training_runs.h"
#include "tests/trainer/program.h"

// gorgon train as several real processes beside one.

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

class TrainingByRanks : public TrainingRuns {
 protected:
  TrainingByRanks() : TrainingRuns(GORGON_PROGRAM, {}, {}) {}
};

// Every form of heads is heads_test.cpp's; this is the whole program, once in each mode.
TEST_F(TrainingByRanks, GiveTheLossesOfOneProcess) {
  train("one", 1, {"optim=adamw_8bit"});
  for (const char* mode : {"replicate", "vocab"}) {
    SCOPED_TRACE(mode);
    train(mode, 3, {"optim=adamw_8bit", fmt::format("parallel_heads={}", mode)});
    expect_same_metrics(mode, "one");
  }
}

TEST_F(TrainingByRanks, OnlyRankZeroSpeaksAndEveryRankLogs) {
  Job job(Launcher::variables, 2, GORGON_PROGRAM, arguments("run"));
  const JobResult result = job.wait();
  ASSERT_EQ(result.statuses, (std::vector<int>{0, 0})) << result.err;
  EXPECT_EQ(result.out.find("trained 8 steps"), result.out.rfind("trained 8 steps"));
  EXPECT_EQ(result.err.find("step 8/8  loss"), result.err.rfind("step 8/8  loss"));
  for (const char* log : {"logs/rank-0.log", "logs/rank-1.log"})
    EXPECT_THAT(file_text(directory("run") / log), HasSubstr("step 8/8  loss")) << log;
  const json step = metrics("run").front();
  EXPECT_GE(step.at("rank_seconds_max").get<double>(), step.at("rank_seconds_median").get<double>());
  EXPECT_GE(step.at("rank_ratio").get<double>(), 1);
  EXPECT_THAT(file_text(directory("run") / "report.html"), HasSubstr("<h3>Ranks</h3>"));
  EXPECT_TRUE(step.at("slowest_rank") == 0 || step.at("slowest_rank") == 1);
}

// --gpus is a launcher of its own; the same number of ranks gives the same bits however it was started.
TEST_F(TrainingByRanks, TheSameBitsByEveryLauncher) {
  train("variables", 2, {}, Launcher::variables);
  std::vector<std::string> words = arguments("gpus");
  words.insert(words.end(), {"--gpus", "2"});
  const ProgramResult result = run_program(words);
  ASSERT_EQ(result.status, 0) << result.err;
  const std::string heads = file_text(directory("variables") / "medusa_heads.safetensors");
  EXPECT_FALSE(heads.empty());
  EXPECT_TRUE(heads == file_text(directory("gpus") / "medusa_heads.safetensors"));
  if (!can_launch(Launcher::mpirun)) return;
  train("mpirun", 2, {}, Launcher::mpirun);
  EXPECT_TRUE(heads == file_text(directory("mpirun") / "medusa_heads.safetensors"));
}

// Checkpoints are those of one process: saved by two ranks, they go on in either mode, by three ranks and by
// one.
TEST_F(TrainingByRanks, ACheckpointOfTwoRanksGoesOnWithThreeOrOne) {
  const std::string vocab = "parallel_heads=vocab", replicate = "parallel_heads=replicate";
  train("one", 1);
  struct Case {
    std::string run, saved_in;
    int ranks;
    std::string resumed_in;
  };
  for (const auto& [run, saved_in, ranks, resumed_in] : {Case{"to-3", vocab, 3, replicate},
                                                         {"to-1", vocab, 1, replicate},
                                                         {"to-vocab", replicate, 3, vocab}}) {
    SCOPED_TRACE(run);
    train(run, 2, {saved_in});
    // As if it had been stopped behind step 4.
    for (const int later : {5, 6, 7, 8}) fs::remove_all(directory(run) / fmt::format("checkpoint-{}", later));
    fs::remove(directory(run) / "medusa_heads.safetensors");
    train(run, ranks, {resumed_in});
    expect_same_metrics(run, "one");
  }
}

// Killed or stopped in the midst of training, in both modes.
TEST_F(TrainingByRanks, LostRanksHarmNothing) {
  for (const char* mode : {"replicate", "vocab"}) {
    const std::vector<std::string> set{"max_steps=120", "save_steps=5", "save_total_limit=0", "eval_steps=0",
                                       fmt::format("parallel_heads={}", mode)};
    fs::remove_all(directory("undisturbed"));
    train("undisturbed", 3, set);
    for (const int signal : {SIGKILL, SIGSTOP}) {
      SCOPED_TRACE(fmt::format("{} signal {}", mode, signal));
      lose_a_rank(fmt::format("{}-{}", mode, signal), signal, 5, set);
    }
  }
}

// Rank 0, whose word all see, is the one that is stopped: rank 1 speaks, once.
TEST_F(TrainingByRanks, AStoppedRankZeroIsReported) {
  Job job(Launcher::variables, 3, GORGON_PROGRAM,
          arguments("run", {"max_steps=100000", "eval_steps=0", "save_steps=0", "ddp_timeout=3"}));
  wait_for_steps("run");
  job.signal_rank(0, SIGSTOP);
  job.wait_for_statuses({1, 2});
  job.kill_rank(0);
  const JobResult result = job.wait();
  EXPECT_EQ(result.statuses[1], 7) << result.err;
  EXPECT_EQ(result.statuses[2], 7) << result.err;
  EXPECT_THAT(result.err, HasSubstr("error: rank 0 on "));
  EXPECT_EQ(result.err.find("error: "), result.err.rfind("error: ")) << result.err;
  EXPECT_THAT(file_text(directory("run") / "logs/rank-2.log"), HasSubstr("rank 0 on "));
}

// mpirun -np 1 leaves its variables to the ranks that --gpus starts: they are two of one job all the same.
TEST_F(TrainingByRanks, GpusUnderALauncherOfOne) {
  std::vector<std::string> words = arguments("run");
  words.insert(words.end(), {"--gpus", "2"});
  Job job(launcher(), 1, GORGON_PROGRAM, words);
  const JobResult result = job.wait();
  ASSERT_EQ(result.statuses, std::vector<int>{0}) << result.err;
  EXPECT_THAT(file_text(directory("run") / "logs/rank-1.log"), HasSubstr("step 8/8  loss"));
}

// A stopped rank learns of nothing and takes no request: the launcher does not wait for it for ever.
TEST_F(TrainingByRanks, GpusEndsARankThatOutlivesAFailure) {
  std::vector<std::string> words = arguments("run", {"max_steps=100000", "eval_steps=0", "save_steps=0"});
  words.insert(words.end(), {"--gpus", "2"});
  Job job(Launcher::variables, 1, GORGON_PROGRAM, words);
  wait_for_steps("run");
  const std::vector<pid_t> ranks = job.started_by(0);
  ASSERT_EQ(ranks.size(), 2u);
  ::kill(ranks[0], SIGSTOP);
  ::kill(ranks[1], SIGKILL);
  EXPECT_EQ(job.wait().statuses, std::vector<int>{7});
  EXPECT_NE(::kill(ranks[0], 0), 0);
}

TEST_F(TrainingByRanks, ASignalToOneStopsAllTogether) {
  const std::vector<std::string> set{"max_steps=100000", "eval_steps=0", "save_steps=0"};
  Job job(Launcher::variables, 2, GORGON_PROGRAM, arguments("run", set));
  wait_for_steps("run");
  job.signal_rank(1, SIGTERM);
  const JobResult result = job.wait();
  EXPECT_EQ(result.statuses, (std::vector<int>{75, 75})) << result.err;
  EXPECT_EQ(checkpoints("run"), 1);
}

// The launcher's group is what a terminal's Ctrl-C and `timeout` reach; the latter signals the launcher
// twice.
TEST_F(TrainingByRanks, ASignalToTheLaunchersGroupSaves) {
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
    SCOPED_TRACE(signal);
    const std::string run = fmt::format("signal-{}", signal);
    std::vector<std::string> words = arguments(run, {"max_steps=100000", "eval_steps=0", "save_steps=0"});
    words.insert(words.end(), {"--gpus", "2"});
    Job job(Launcher::variables, 1, GORGON_PROGRAM, words);
    wait_for_steps(run);
    job.signal_rank(0, signal);
    job.signal_group(0, signal);
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses, std::vector<int>{75}) << result.err;
    EXPECT_EQ(checkpoints(run), 1);
  }
}

}  // namespace
}  // namespace gorgon
