#include "kernels/cores.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>

#include <sched.h>

namespace gorgon {
namespace {

namespace fs = std::filesystem;

std::vector<int> cpus_of_process() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  } else {  // more of them than the set has room for
    const auto count = static_cast<int>(std::thread::hardware_concurrency());
    for (int cpu = 0; cpu < count; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

// cpu.max of version 2: "MICROSECONDS PERIOD" or "max PERIOD". 0 = no limit.
double quota_in(const fs::path& folder) {
  double quota = 0, period = 0;
  if (std::ifstream(folder / "cpu.max") >> quota >> period) return period > 0 ? quota / period : 0;
  // Version 1: -1 is no limit.
  if (!(std::ifstream(folder / "cpu.cfs_quota_us") >> quota)) return 0;
  if (!(std::ifstream(folder / "cpu.cfs_period_us") >> period)) return 0;
  return quota > 0 && period > 0 ? quota / period : 0;
}

// The smallest quota of the group and those that it lies in.
void take_smallest_quota(const fs::path& mount, const std::string& group, CoreShare& share) {
  fs::path path = fs::path(group).relative_path();
  for (;; path = path.parent_path()) {
    const double quota = quota_in(mount / path);
    if (quota > 0 && (share.quota == 0 || quota < share.quota)) {
      share.quota = quota;
      share.group = (mount / path).string();
    }
    if (path.empty()) return;
  }
}

bool lists_cpu(const std::string& controllers) {
  return ("," + controllers + ",").find(",cpu,") != std::string::npos;
}

}  // namespace

CoreShare cores_of_process(const fs::path& system) {
  CoreShare share;
  share.cpus = cpus_of_process();
  const fs::path mounts = system / "sys/fs/cgroup";
  // Lines NUMBER:CONTROLLERS:GROUP; the one of version 2 has no controllers.
  std::ifstream groups(system / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controllers.empty()) take_smallest_quota(mounts, group, share);
    if (lists_cpu(controllers)) take_smallest_quota(mounts / "cpu", group, share);
  }
  return share;
}

int threads_alone(const CoreShare& mine) {
  return threads_among(0, {mine});
}

int threads_among(size_t mine, const std::vector<CoreShare>& machine) {
  constexpr double kRounding = 1e-6;
  const CoreShare& own = machine[mine];
  double cores = 0, members = 0;
  for (const int cpu : own.cpus) {
    const auto users = std::count_if(machine.begin(), machine.end(), [&](const CoreShare& other) {
      return std::binary_search(other.cpus.begin(), other.cpus.end(), cpu);
    });
    cores += 1.0 / static_cast<double>(users);
  }
  for (const CoreShare& other : machine) members += other.group == own.group ? 1 : 0;
  if (own.quota > 0) cores = std::min(cores, own.quota / members);
  return std::max(1, static_cast<int>(std::floor(cores + kRounding)));
}

// "0,1,2;1.5;GROUP"
std::string to_text(const CoreShare& share) {
  std::string text;
  for (const int cpu : share.cpus) text += (text.empty() ? "" : ",") + std::to_string(cpu);
  char quota[32];
  std::snprintf(quota, sizeof quota, ";%.6f;", share.quota);
  return text + quota + share.group;
}

CoreShare core_share_of(const std::string& text) {
  CoreShare share;
  const size_t first = text.find(';'), second = text.find(';', first + 1);
  if (first == std::string::npos || second == std::string::npos) return share;
  std::istringstream cpus(text.substr(0, first));
  for (std::string cpu; std::getline(cpus, cpu, ',');) share.cpus.push_back(std::atoi(cpu.c_str()));
  share.quota = std::strtod(text.substr(first + 1, second).c_str(), nullptr);
  share.group = text.substr(second + 1);
  return share;
}

}  // namespace gorgon
