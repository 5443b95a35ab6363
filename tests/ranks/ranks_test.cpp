#include <csignal>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/ranks/launch_environment.h"
#include "kernels/ranks/socket.h"
#include "tests/ranks/job.h"

namespace gorgon {
namespace {

using ::testing::HasSubstr;

LaunchEnvironment environment_of(const std::map<std::string, std::string>& values) {
  return read_launch_environment([&](const char* name) {
    const auto found = values.find(name);
    return found == values.end() ? nullptr : found->second.c_str();
  });
}

TEST(LaunchEnvironment, OneProcessIsNoJob) {
  EXPECT_EQ(environment_of({}).kind, LaunchEnvironment::Kind::single);
  EXPECT_EQ(environment_of({{"OMPI_COMM_WORLD_SIZE", "1"}}).kind, LaunchEnvironment::Kind::single);
  EXPECT_EQ(environment_of({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).kind, LaunchEnvironment::Kind::single);
  // A batch script outside srun has SLURM_PROCID and SLURM_NTASKS, and is one process all the same.
  EXPECT_EQ(environment_of({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}).kind,
            LaunchEnvironment::Kind::single);
}

TEST(LaunchEnvironment, Torchrun) {
  const LaunchEnvironment found = environment_of({{"RANK", "3"},
                                                  {"WORLD_SIZE", "8"},
                                                  {"LOCAL_RANK", "1"},
                                                  {"MASTER_ADDR", "node7"},
                                                  {"MASTER_PORT", "1234"}});
  EXPECT_EQ(found.kind, LaunchEnvironment::Kind::tcp);
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.size, 8);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.master_address, "node7");
  EXPECT_EQ(found.master_port, 1234);
}

TEST(LaunchEnvironment, Srun) {
  const LaunchEnvironment found = environment_of({{"SLURM_STEP_NUM_TASKS", "4"},
                                                  {"SLURM_PROCID", "2"},
                                                  {"SLURM_LOCALID", "0"},
                                                  {"SLURM_STEP_NODELIST", "gpu[03-04,07],big1"},
                                                  {"SLURM_JOB_ID", "123456"}});
  EXPECT_EQ(found.kind, LaunchEnvironment::Kind::tcp);
  EXPECT_EQ(found.rank, 2);
  EXPECT_EQ(found.local_rank, 0);
  EXPECT_EQ(found.master_address, "gpu03");
  EXPECT_EQ(found.master_port, 15000 + 123456 % 20000);
  EXPECT_EQ(first_host("a,b"), "a");
  EXPECT_EQ(first_host("a[7]"), "a7");
}

TEST(LaunchEnvironment, Mpirun) {
  const LaunchEnvironment found = environment_of(
      {{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}});
  EXPECT_EQ(found.kind, LaunchEnvironment::Kind::mpi);
  EXPECT_EQ(found.rank, 1);
}

// --gpus under mpirun -np 1, or in a batch script that has PMIx's variables.
TEST(LaunchEnvironment, TheInnermostLauncherCounts) {
  const std::map<std::string, std::string> ours{{"RANK", "1"},
                                                {"WORLD_SIZE", "2"},
                                                {"LOCAL_RANK", "1"},
                                                {"MASTER_ADDR", "127.0.0.1"},
                                                {"MASTER_PORT", "1234"}};
  const auto with = [&](std::map<std::string, std::string> more) {
    more.insert(ours.begin(), ours.end());
    return environment_of(more);
  };
  std::vector<LaunchEnvironment> all;
  all.push_back(with({{kLocalRanksVariable, "2"}, {"OMPI_COMM_WORLD_SIZE", "1"}, {"PMIX_RANK", "0"}}));
  // Whose agent has the port of its own workers, not of ours.
  all.push_back(with({{kLocalRanksVariable, "2"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}}));
  all.push_back(with({{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"PMIX_RANK", "0"}}));
  all.push_back(with({{"PMIX_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}));
  for (const LaunchEnvironment& found : all) {
    EXPECT_EQ(found.kind, LaunchEnvironment::Kind::tcp);
    EXPECT_EQ(found.rank, 1);
    EXPECT_EQ(found.size, 2);
    EXPECT_EQ(found.master_port, 1234);
  }
  const LaunchEnvironment mpi = with({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}});
  EXPECT_EQ(mpi.kind, LaunchEnvironment::Kind::mpi);
  EXPECT_EQ(mpi.rank, 3);
  EXPECT_EQ(environment_of({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"PMIX_RANK", "1"}, {"PMI_SIZE", "2"}}).kind,
            LaunchEnvironment::Kind::mpi);
}

TEST(LaunchEnvironment, TorchrunsOwnStoreHasMasterPort) {
  std::map<std::string, std::string> values{{"RANK", "0"},
                                            {"WORLD_SIZE", "2"},
                                            {"MASTER_ADDR", "node7"},
                                            {"MASTER_PORT", "29400"},
                                            {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
  EXPECT_EQ(environment_of(values).master_port, 29401);
  values["TORCHELASTIC_USE_AGENT_STORE"] = "False";
  EXPECT_EQ(environment_of(values).master_port, 29400);
}

TEST(LaunchEnvironment, WrongValuesAreNamed) {
  try {
    environment_of({{"RANK", "8"}, {"WORLD_SIZE", "8"}, {"MASTER_ADDR", "x"}});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::config);
    EXPECT_THAT(error.what(), HasSubstr("RANK: expected an integer from 0 to 7, found '8'"));
  }
  EXPECT_THROW(environment_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}}), Error);
  EXPECT_THROW(environment_of({{"RANK", "1"}, {"MASTER_ADDR", "x"}}), Error);
  EXPECT_THROW(environment_of({{"WORLD_SIZE", "2"}, {"MASTER_ADDR", "x"}}), Error);
}

// Started by mpirun and by variables alike.
class Launched : public testing::TestWithParam<Launcher> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Launched, testing::Values(Launcher::mpirun, Launcher::variables),
                         [](const auto& which) {
                           return which.param == Launcher::mpirun ? "Mpirun" : "Variables";
                         });

TEST_P(Launched, CollectivesGiveWhatTheirContractSays) {
  if (!can_launch(GetParam())) GTEST_SKIP() << "no MPI in this build";
  for (const int n : {1, 2, 3, 4}) {
    Job job(GetParam(), n, GORGON_RANK_PROGRAM, {"collectives"});
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses, std::vector<int>(static_cast<size_t>(n), 0)) << result.err;
  }
}

// The line of every survivor names the lost rank, its host, step, collective and seconds; its status is 7.
TEST_P(Launched, LostRanksAreReportedByAllOthers) {
  if (!can_launch(GetParam())) GTEST_SKIP() << "no MPI in this build";
  Job job(GetParam(), 3, GORGON_RANK_PROGRAM, {"ends", "60"});
  const JobResult result = job.wait();
  EXPECT_EQ(result.statuses, (std::vector<int>{7, 7, 9})) << result.err;
  EXPECT_LT(result.seconds, 15);  // far below the deadline: nobody waited for it
  EXPECT_THAT(result.err, HasSubstr("rank 2 on " + own_host_name() +
                                    ": step 12: expected its part in all_reduce of gradients of head 3, "
                                    "found its process gone, last heard "));
}

TEST_P(Launched, StoppedRanksAreReportedByTheDeadline) {
  if (!can_launch(GetParam())) GTEST_SKIP() << "no MPI in this build";
  for (const char* how : {"stops", "away"}) {
    Job job(GetParam(), 3, GORGON_RANK_PROGRAM, {how, "3"});
    job.wait_for_statuses({0, 1});
    job.kill_rank(2);
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses[0], 7) << how << result.err;
    EXPECT_EQ(result.statuses[1], 7) << how << result.err;
    // The deadline and up to 5 s more.
    EXPECT_THAT(result.err,
                testing::ContainsRegex("rank 2 on " + own_host_name() +
                                       ": step 12: expected its part in all_reduce of gradients of head 3, "
                                       "found nothing from it .ddp_timeout., after [3-7]\\."));
  }
}

// As torchrun's agent does: somebody listens on MASTER_PORT before the ranks start.
TEST(LaunchedByTorchrun, MeetsBesideItsAgent) {
  Socket agent = Socket::listen(0);
  while (!Socket::listen(agent.port() + 1).is_open()) agent = Socket::listen(0);
  Job job(Launcher::variables, 2, GORGON_RANK_PROGRAM, {"collectives"},
          {{"MASTER_PORT", std::to_string(agent.port())}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  const JobResult result = job.wait();
  EXPECT_EQ(result.statuses, (std::vector<int>{0, 0})) << result.err;
}

TEST_P(Launched, FailuresOfOneRankReachTheOthers) {
  if (!can_launch(GetParam())) GTEST_SKIP() << "no MPI in this build";
  Job job(GetParam(), 3, GORGON_RANK_PROGRAM, {"fails", "60"});
  const JobResult result = job.wait();
  EXPECT_EQ(result.statuses, (std::vector<int>{7, 7, 3})) << result.err;
  EXPECT_THAT(result.err, HasSubstr("rank 2 on " + own_host_name() + " ended: no such model"));
}

}  // namespace
}  // namespace gorgon
