#include "kernels/ranks/launch_environment.h"

#include <charconv>
#include <utility>

#include "kernels/error.h"

namespace gorgon {
namespace {

class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  std::string text(const char* name) const {
    const char* value = environment_(name);
    return value == nullptr ? "" : value;
  }
  bool has(const char* name) const { return environment_(name) != nullptr; }

  // Absent: `otherwise`.
  int integer(const char* name, int least, int most, int otherwise) const {
    if (!has(name)) return otherwise;
    const std::string value = text(name);
    int number = 0;
    const auto result = std::from_chars(value.data(), value.data() + value.size(), number);
    const bool whole = result.ec == std::errc() && result.ptr == value.data() + value.size();
    if (!whole || number < least || number > most) {
      fail(ExitCode::config,
           {"environment", name, "an integer from " + std::to_string(least) + " to " + std::to_string(most),
            quote_value(value), "start all ranks with one launcher"});
    }
    return number;
  }

 private:
  const Environment& environment_;
};

constexpr int kMaxRanks = 1 << 16;
constexpr int kMaxPort = 65535;

// "NAME VALUE" of the first variable that tells jobs apart.
std::string job_of(const Reader& read, bool by_srun) {
  if (read.has(kJobVariable)) return kJobVariable + (" " + read.text(kJobVariable));
  constexpr const char* kTorchrun = "TORCHELASTIC_RUN_ID";
  const std::string run = read.text(kTorchrun);
  if (!run.empty() && run != "none") return kTorchrun + (" " + run);  // none: torchrun's default
  constexpr const char* kSlurm = "SLURM_JOB_ID";
  if (!read.has(kSlurm)) return "";
  const std::string step = by_srun ? "." + read.text("SLURM_STEP_ID") : "";
  return kSlurm + (" " + read.text(kSlurm)) + step;
}

LaunchEnvironment by_torchrun(const Reader& read) {
  LaunchEnvironment found;
  found.size = read.integer("WORLD_SIZE", 1, kMaxRanks, 1);
  found.rank = read.integer("RANK", 0, found.size - 1, 0);
  found.local_rank = read.integer("LOCAL_RANK", 0, kMaxRanks, -1);
  found.master_address = read.text("MASTER_ADDR");
  const bool taken = read.text("TORCHELASTIC_USE_AGENT_STORE") == "True" && !read.has(kLocalRanksVariable);
  const int next = taken ? 1 : 0;  // torchrun's own store listens on MASTER_PORT
  found.master_port = read.integer("MASTER_PORT", 1, kMaxPort - next, 29500) + next;  // torchrun's default
  found.job = job_of(read, false);
  found.listening = read.integer(kListeningVariable, 0, 1 << 20, -1);
  found.kind = LaunchEnvironment::Kind::tcp;
  if (found.size > 1 && found.master_address.empty()) {
    fail(ExitCode::config, {"environment", "MASTER_ADDR", "the machine of rank 0", "nothing",
                            "set it as torchrun does, or start with mpirun"});
  }
  return found;
}

LaunchEnvironment by_slurm(const Reader& read) {
  LaunchEnvironment found;
  found.size = read.integer("SLURM_STEP_NUM_TASKS", 1, kMaxRanks, 1);
  found.rank = read.integer("SLURM_PROCID", 0, found.size - 1, 0);
  found.local_rank = read.integer("SLURM_LOCALID", 0, kMaxRanks, -1);
  found.master_address = read.text("MASTER_ADDR");
  if (found.master_address.empty()) found.master_address = first_host(read.text("SLURM_STEP_NODELIST"));
  constexpr int kFirstPort = 15000, kPorts = 20000;
  found.job = job_of(read, true);
  const int job = read.integer("SLURM_JOB_ID", 0, 2147483647, 0);
  found.master_port = read.integer("MASTER_PORT", 1, kMaxPort, kFirstPort + job % kPorts);
  found.kind = LaunchEnvironment::Kind::tcp;
  return found;
}

LaunchEnvironment by_mpi_launcher(const Reader& read) {
  LaunchEnvironment found;
  found.kind = LaunchEnvironment::Kind::mpi;
  found.size = read.integer(
      "OMPI_COMM_WORLD_SIZE", 1, kMaxRanks,
      read.integer("PMI_SIZE", 1, kMaxRanks, read.integer("SLURM_STEP_NUM_TASKS", 1, kMaxRanks, kMaxRanks)));
  found.rank =
      read.integer("OMPI_COMM_WORLD_RANK", 0, kMaxRanks,
                   read.integer("PMIX_RANK", 0, kMaxRanks, read.integer("PMI_RANK", 0, kMaxRanks, 0)));
  found.local_rank = read.integer("OMPI_COMM_WORLD_LOCAL_RANK", 0, kMaxRanks,
                                  read.integer("SLURM_LOCALID", 0, kMaxRanks, -1));
  return found;
}

// By hand one of the two is soon forgotten: ranks that train alone, each for itself, would be the result.
void require_both(const Reader& read) {
  for (const auto& [there, missing] : {std::pair{"RANK", "WORLD_SIZE"}, {"WORLD_SIZE", "RANK"}}) {
    if (!read.has("MASTER_ADDR") || !read.has(there) || read.has(missing)) continue;
    fail(ExitCode::config,
         {"environment", missing, std::string("an integer, beside MASTER_ADDR and ") + there, "nothing",
          "set it as torchrun does, or leave all three out"});
  }
}

}  // namespace

std::string first_host(const std::string& node_list) {
  const size_t bracket = node_list.find_first_of("[,");
  if (bracket == std::string::npos || node_list[bracket] == ',') return node_list.substr(0, bracket);
  const size_t end = node_list.find_first_of("-,]", bracket);
  return node_list.substr(0, bracket) + node_list.substr(bracket + 1, end - bracket - 1);
}

LaunchEnvironment read_launch_environment(const Environment& environment) {
  const Reader read(environment);
  const bool torchrun = read.has("RANK") && read.has("WORLD_SIZE");
  const bool by_mpi = read.has("OMPI_COMM_WORLD_SIZE") || read.has("PMIX_RANK") ||
                      (read.has("PMI_SIZE") && !read.has("SLURM_JOB_ID"));
  // srun and a launcher of one process leave their variables to what they start.
  const bool mpi_of_several = read.integer("OMPI_COMM_WORLD_SIZE", 1, kMaxRanks, 1) > 1;
  const bool torchrun_before_mpi = torchrun && read.has("LOCAL_RANK") && !mpi_of_several;
  LaunchEnvironment found;
  if (read.has(kLocalRanksVariable) || torchrun_before_mpi || (torchrun && !by_mpi)) {
    found = by_torchrun(read);
  } else if (by_mpi) {
    found = by_mpi_launcher(read);
  } else if (read.has("SLURM_STEP_NUM_TASKS")) {
    found = by_slurm(read);
  } else {
    require_both(read);
  }
  return found.size > 1 ? found : LaunchEnvironment{};
}

}  // namespace gorgon
