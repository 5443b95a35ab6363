#include "kernels/cores.h"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

CoreShare on(std::vector<int> cpus, double quota = 0, const std::string& group = "") {
  return {std::move(cpus), quota, group};
}

int all_threads(const std::vector<CoreShare>& machine) {
  int sum = 0;
  for (size_t i = 0; i < machine.size(); ++i) sum += threads_among(i, machine);
  return sum;
}

TEST(Cores, OfOneProcess) {
  EXPECT_EQ(threads_alone(on({0, 1, 2, 3})), 4);
  EXPECT_EQ(threads_alone(on({5})), 1);
  EXPECT_EQ(threads_alone(on({0, 1, 2, 3}, 2.5)), 2);
  EXPECT_EQ(threads_alone(on({0, 1, 2, 3}, 0.5)), 1);
  EXPECT_EQ(threads_alone(on({0, 1, 2, 3}, 64)), 4);
  EXPECT_EQ(threads_alone(CoreShare{}), 1);
}

// Four processes that may run on the same four cores of many; two bound to halves; three on overlapping sets.
TEST(Cores, AreDividedByThoseThatShareThem) {
  const CoreShare four = on({8, 9, 10, 11});
  EXPECT_EQ(threads_among(0, {four, four}), 2);
  EXPECT_EQ(all_threads({four, four, four, four}), 4);
  const std::vector<CoreShare> halves{on({0, 1}), on({2, 3})};
  EXPECT_EQ(threads_among(0, halves), 2);
  EXPECT_EQ(threads_among(1, halves), 2);
  const std::vector<CoreShare> overlap{on({0, 1, 2, 3}), on({0, 1}), on({3})};
  EXPECT_EQ(threads_among(0, overlap), 2);  // 1/2 + 1/2 + 1 + 1/2
  EXPECT_LE(all_threads(overlap), 4);
  EXPECT_EQ(all_threads({four, four, four, four, four}), 5);  // one each at least
}

// Of a container with 4 cores' worth on a machine of 8; processes elsewhere have no part in it.
TEST(Cores, AQuotaIsDividedByItsGroup) {
  const CoreShare in = on({0, 1, 2, 3, 4, 5, 6, 7}, 4, "/a"), out = on({0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(threads_among(0, {in, in}), 2);
  EXPECT_EQ(all_threads({in, in, in, in}), 4);
  EXPECT_EQ(threads_among(0, {in, out}), 4);
  EXPECT_EQ(threads_among(1, {in, out}), 4);
}

class ControlGroups : public testing::Test {
 protected:
  void write(const fs::path& path, const std::string& text) const {
    fs::create_directories((folder_.path() / path).parent_path());
    std::ofstream(folder_.path() / path) << text;
  }
  double quota() const { return cores_of_process(folder_.path()).quota; }
  TemporaryDirectory folder_;
};

TEST_F(ControlGroups, Version2TakesTheSmallestOnTheWay) {
  EXPECT_EQ(quota(), 0);
  write("proc/self/cgroup", "0::/job/step\n");
  write("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), 0);
  write("sys/fs/cgroup/job/cpu.max", "250000 100000\n");
  EXPECT_EQ(quota(), 2.5);
  write("sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 2.5);
  write("sys/fs/cgroup/job/step/cpu.max", "100000 50000\n");
  EXPECT_EQ(quota(), 2);
}

TEST_F(ControlGroups, Version1) {
  write("proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/docker/1\n0::/\n");
  write("sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(quota(), 0);
  write("sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(quota(), 1.5);
}

TEST_F(ControlGroups, TravelAsText) {
  const CoreShare share = on({0, 3, 17}, 2.5, "/sys/fs/cgroup/with;semicolon");
  const CoreShare read = core_share_of(to_text(share));
  EXPECT_EQ(read.cpus, share.cpus);
  EXPECT_EQ(read.quota, share.quota);
  EXPECT_EQ(read.group, share.group);
  EXPECT_TRUE(core_share_of("nonsense").cpus.empty());
}

}  // namespace
}  // namespace gorgon
