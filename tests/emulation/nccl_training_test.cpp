#include <csignal>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/ranks/training_runs.h"

// gorgon train by ranks on emulated GPUs, which talk by NCCL's stand-in, beside one of them.

namespace gorgon {
namespace {

class TrainingOnGpus : public TrainingRuns {
 protected:
  TrainingOnGpus()
      : TrainingRuns(GORGON_GPU_PROGRAM, {"device=cuda"}, {{"LD_LIBRARY_PATH", GORGON_NCCL_STAND_IN}}) {}
};

TEST_F(TrainingOnGpus, GiveTheLossesOfOneProcess) {
  const std::vector<std::string> set{"optim=adamw_8bit", "max_steps=4", "eval_steps=4", "save_steps=4"};
  train("one", 1, set);
  for (const auto& [mode, ranks] : {std::pair{"replicate", 2}, {"vocab", 3}}) {
    SCOPED_TRACE(mode);
    std::vector<std::string> with = set;
    with.push_back(fmt::format("parallel_heads={}", mode));
    train(mode, ranks, with);
    expect_same_metrics(mode, "one");
  }
}

// Killed or stopped in the midst of training, wherever it is: killed in one mode, stopped in the other.
TEST_F(TrainingOnGpus, LostRanksHarmNothing) {
  for (const auto& [mode, signal] :
       {std::pair{"replicate", SIGKILL}, {"vocab", SIGKILL}, {"vocab", SIGSTOP}}) {
    SCOPED_TRACE(fmt::format("{} signal {}", mode, signal));
    const std::vector<std::string> set{"max_steps=10",     "eval_steps=0",
                                       "save_steps=1",     "save_total_limit=0",
                                       "optim=adamw_8bit", fmt::format("parallel_heads={}", mode)};
    if (signal == SIGKILL) {
      std::filesystem::remove_all(directory("undisturbed"));
      train("undisturbed", 3, set);
    }
    lose_a_rank(fmt::format("{}-{}", mode, signal), signal, 3, set);
  }
}

// While one rank stands still the other's GPU waits for it in a collective: rank_seconds leave that out, by
// the device's clock, so that the slow one is named. (A rank may as well be stopped between two steps, or
// while it waits itself: once of many is enough.)
TEST_F(TrainingOnGpus, RankSecondsLeaveOutTheGpusWaiting) {
  constexpr unsigned kStill = 2;  // seconds
  constexpr int kTimes = 30;
  Job job(Launcher::variables, 2, program_,
          arguments("run", {"max_steps=100000", "eval_steps=0", "save_steps=0", "parallel_heads=replicate"}),
          environment_);
  wait_for_steps("run");
  const auto named = [&] {
    int count = 0;
    for (const nlohmann::json& step : metrics("run")) {
      const double slowest = step.at("rank_seconds_max"), other = step.at("rank_seconds_median");
      if (slowest - other < kStill - 1) continue;
      EXPECT_EQ(step.at("slowest_rank"), 1) << step;
      ++count;
    }
    return count;
  };
  for (int i = 0; i < kTimes && named() == 0; ++i) {
    job.signal_rank(1, SIGSTOP);
    ::sleep(kStill);
    job.signal_rank(1, SIGCONT);
    ::usleep(300000);
  }
  job.signal_rank(0, SIGTERM);
  const JobResult result = job.wait();
  EXPECT_EQ(result.statuses, (std::vector<int>{75, 75})) << result.err;
  EXPECT_GE(named(), 1);
}

}  // namespace
}  // namespace gorgon
