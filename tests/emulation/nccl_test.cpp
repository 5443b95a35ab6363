#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/ranks/nccl_api.h"
#include "tests/ranks/job.h"

namespace gorgon {
namespace {

// heads_program.cpp on emulated GPUs: its few rows in both modes, beside the same heads trained alone on one.
// Bytes go by NcclCommunicator, the id of NCCL by MPI or by TCP.
TEST(RanksOnGpus, EqualHeadsTrainedAlone) {
  for (const Launcher launcher : {Launcher::mpirun, Launcher::variables}) {
    if (!can_launch(launcher)) continue;
    constexpr int n = 2;
    Job job(launcher, n, GORGON_GPU_PROGRAM, {"few"});
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
