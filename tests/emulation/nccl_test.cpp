#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/ranks/nccl_api.h"
#include "kernels/ranks/socket.h"
#include "tests/ranks/job.h"

namespace gorgon {
namespace {

using testing::HasSubstr;

Launcher launcher() {
  return can_launch(Launcher::mpirun) ? Launcher::mpirun : Launcher::variables;
}

const std::map<std::string, std::string> kNccl{{"LD_LIBRARY_PATH", GORGON_NCCL_STAND_IN}};

// collectives_program.cpp on emulated GPUs: parts of any size, groups, several at once.
TEST(RanksOnGpus, CollectivesGiveWhatTheirContractSays) {
  for (const int n : {2, 3, 4}) {
    Job job(launcher(), n, GORGON_GPU_COLLECTIVES, {"collectives"}, kNccl);
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses, std::vector<int>(static_cast<size_t>(n), 0)) << result.err;
  }
}

// heads_program.cpp on emulated GPUs: a few rows in both modes, beside the same heads trained alone on one;
// what came over the wire is what the formula says, gradients and states are asked for before anything waits
// for them, and a step that one rank spoils is skipped by all. The id of NCCL travels by MPI or by TCP.
TEST(RanksOnGpus, EqualHeadsTrainedAlone) {
  for (const int n : {2, 3, 4}) {
    Job job(n == 3 ? Launcher::variables : launcher(), n, GORGON_GPU_HEADS, {n == 3 ? "few" : "own"}, kNccl);
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses, std::vector<int>(static_cast<size_t>(n), 0)) << result.out << result.err;
    EXPECT_THAT(result.out, HasSubstr(n == 3 ? " 4 rows, 0 failed" : " 2 rows, 0 failed"));
  }
}

std::string line_of(int rank, const std::string& found) {
  return "rank " + std::to_string(rank) + " on " + own_host_name() +
         ": step 12: expected its part in all_reduce of gradients of head 3, found " + found;
}

// A rank is killed, stopped, or hangs while the others' GPUs are in a collective: each of them ends with 7
// and names rank, host, step and collective; who is killed at once, the others by the deadline.
TEST(RanksOnGpus, LostRanksAreReportedByAllOthers) {
  for (const auto& [how, found] : {std::pair{"ends", "its process gone, last heard "},
                                   {"stops", "nothing from it (ddp_timeout), after "},
                                   {"away", "nothing from it (ddp_timeout), after "}}) {
    SCOPED_TRACE(how);
    const bool dies = std::string(how) == "ends";
    Job job(launcher(), 3, GORGON_GPU_COLLECTIVES, {how, dies ? "60" : "3"}, kNccl);
    job.wait_for_statuses({0, 1});
    job.kill_rank(2);
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses[0], 7) << result.err;
    EXPECT_EQ(result.statuses[1], 7) << result.err;
    EXPECT_THAT(result.err, HasSubstr(line_of(2, found)));
    EXPECT_LT(result.seconds, 30);  // of a deadline of 60
  }
}

// What NCCL itself notices, while a collective is under way or as it is asked for, ends all ranks.
TEST(RanksOnGpus, ErrorsOfNcclEndAllRanks) {
  for (const auto& [fault, found] :
       {std::pair{"async:1:1", "NCCL's 'remote process exited or there was a network error'"},
        {"call:1:1", "NCCL's 'internal error'"}}) {
    SCOPED_TRACE(fault);
    std::map<std::string, std::string> environment = kNccl;
    environment["GORGON_NCCL_FAULT"] = fault;
    Job job(Launcher::variables, 3, GORGON_GPU_COLLECTIVES, {"fault", "60"}, environment);
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses, (std::vector<int>{7, 7, 7})) << result.err;
    EXPECT_THAT(result.err, HasSubstr(line_of(1, found)));
    EXPECT_LT(result.seconds, 30);
  }
}

TEST(RanksOnGpus, WithoutNcclTheErrorSaysSo) {
  try {
    open_nccl("libgorgon-no-such-nccl.so.2");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::resource);
    EXPECT_THAT(error.what(), HasSubstr("NVIDIA's NCCL"));
    EXPECT_THAT(error.what(), HasSubstr("device: cpu"));
  }
  // A library without NCCL's functions.
  EXPECT_THROW(open_nccl("libm.so.6"), Error);
}

}  // namespace
}  // namespace gorgon
