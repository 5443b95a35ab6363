#include <csignal>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/ranks/training_runs.h"

// gorgon train by ranks on emulated GPUs, which talk by NCCL's stand-in, beside one of them.

namespace gorgon {
namespace {

using testing::HasSubstr;

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

// Killed or stopped in the midst of training, wherever it is: each survivor ends with 7 by the deadline, one
// of them says so in one line, and the same command goes on from what is saved to the bits of an undisturbed
// run.
TEST_F(TrainingOnGpus, LostRanksHarmNothing) {
  const std::vector<std::string> set{"max_steps=10",        "eval_steps=0",  "save_steps=1",
                                     "save_total_limit=0",  "ddp_timeout=4", "optim=adamw_8bit",
                                     "parallel_heads=vocab"};
  const auto heads = [&](const std::string& run) {
    return file_text(directory(run) / "medusa_heads.safetensors");
  };
  train("undisturbed", 3, set);
  for (const int signal : {SIGKILL, SIGSTOP}) {
    SCOPED_TRACE(signal);
    const std::string run = fmt::format("signal-{}", signal);
    Job job(launcher(), 3, program_, arguments(run, set), environment_);
    for (int i = 0; i < 6000 && !std::filesystem::exists(directory(run) / "checkpoint-3"); ++i)
      ::usleep(10000);
    job.signal_rank(1, signal);
    job.wait_for_statuses({0, 2});
    job.kill_rank(1);
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses[0], 7) << result.err;
    EXPECT_EQ(result.statuses[2], 7) << result.err;
    EXPECT_THAT(result.err, HasSubstr("error: rank 1 on "));
    EXPECT_THAT(result.err, HasSubstr(": expected its part"));
    EXPECT_EQ(result.err.find("error: "), result.err.rfind("error: ")) << result.err;
    EXPECT_EQ(heads(run), "");
    train(run, 3, set);
    EXPECT_TRUE(heads(run) == heads("undisturbed"));
    EXPECT_NE(heads(run), "");
  }
}

}  // namespace
}  // namespace gorgon
