#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/ranks/nccl_api.h"
#include "tests/ranks/job.h"

namespace gorgon {
namespace {

const std::map<std::string, std::string> kNccl{{"LD_LIBRARY_PATH", GORGON_NCCL_STAND_IN}};

// heads_program.cpp on emulated GPUs: its few rows in both modes, beside the same heads trained alone on one;
// what came over the wire is what the formula says, and gradients and states are asked for before anything
// waits for them. The id of NCCL travels by MPI or by TCP.
TEST(RanksOnGpus, EqualHeadsTrainedAlone) {
  for (const int n : {2, 3, 4}) {
    const Launcher launcher =
        n == 3 || !can_launch(Launcher::mpirun) ? Launcher::variables : Launcher::mpirun;
    Job job(launcher, n, GORGON_GPU_HEADS, {"few"}, kNccl);
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses, std::vector<int>(static_cast<size_t>(n), 0)) << result.out << result.err;
    EXPECT_THAT(result.out, testing::HasSubstr(" 4 rows, 0 failed"));
  }
}

TEST(RanksOnGpus, WithoutNcclTheErrorSaysSo) {
  try {
    open_nccl("libgorgon-no-such-nccl.so.2");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::resource);
    EXPECT_THAT(error.what(), testing::HasSubstr("NVIDIA's NCCL"));
    EXPECT_THAT(error.what(), testing::HasSubstr("device: cpu"));
  }
  // A library without NCCL's functions.
  EXPECT_THROW(open_nccl("libm.so.6"), Error);
}

}  // namespace
}  // namespace gorgon
