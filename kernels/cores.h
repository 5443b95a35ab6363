#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace gorgon {

// The cores that a process may use, as the system says it.
struct CoreShare {
  std::vector<int> cpus;  // the process may run on (taskset, cpusets of Slurm and of containers), ascending
  double quota = 0;       // cores' worth of time that its control group gets (docker --cpus); 0 = no limit
  std::string group;      // the one whose quota it is; processes of one group share it
};

// Of this process. `system`: where /proc and /sys lie.
CoreShare cores_of_process(const std::filesystem::path& system = "/");

// Threads of a process alone: a core each, as far as the quota goes. At least 1.
int threads_alone(const CoreShare& mine);
// Threads of process `mine` of those that work together on one machine: a core that several may run on is
// divided by them, as is a quota. All together never have more threads than cores, but for one each.
int threads_among(size_t mine, const std::vector<CoreShare>& machine);

// As one line without spaces, for other processes. Text that is none gives no cores.
std::string to_text(const CoreShare& share);
CoreShare core_share_of(const std::string& text);

}  // namespace gorgon
