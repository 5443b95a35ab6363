#pragma once

#include <functional>
#include <optional>
#include <string>

namespace gorgon {

// Who this process is among those that were started together, by its environment. The first of these that is
// there counts:
//   --gpus    GORGON_LOCAL_RANKS, with torchrun's variables
//   mpirun    OMPI_COMM_WORLD_SIZE above 1: the rest is MPI's
//   torchrun  RANK, WORLD_SIZE and LOCAL_RANK; MASTER_ADDR, MASTER_PORT
//   MPI       OMPI_COMM_WORLD_SIZE, PMIX_RANK (srun --mpi=pmix), PMI_SIZE (hydra)
//   torchrun  RANK, WORLD_SIZE without LOCAL_RANK
//   srun      SLURM_STEP_NUM_TASKS, SLURM_PROCID, SLURM_LOCALID, SLURM_STEP_NODELIST (its first name is where
//             rank 0 listens) and SLURM_JOB_ID (port 15000 + id modulo 20000, where MASTER_PORT is not set)
// Where TORCHELASTIC_USE_AGENT_STORE is True, torchrun itself listens on MASTER_PORT: the next port is ours.
// The job is what GORGON_JOB says, TORCHELASTIC_RUN_ID, or SLURM_JOB_ID (with SLURM_STEP_ID, where srun
// started the ranks); MPI knows its own.
// A job of one process is none.
struct LaunchEnvironment {
  enum class Kind { single, mpi, tcp };
  Kind kind = Kind::single;
  int rank = 0;  // tcp; MPI says its own
  int size = 1;
  int local_rank = -1;  // among the processes of this machine; -1 = by order of ranks
  std::string master_address;
  int master_port = 0;
  std::string job;     // what tells its ranks from another job's; empty where nothing does
  int listening = -1;  // rank 0 under --gpus: the socket its parent opened on master_port
};

using Environment = std::function<const char*(const char* name)>;  // as getenv
// Throws Error(config) naming the variable whose value cannot be, or that is missing beside torchrun's
// others.
LaunchEnvironment read_launch_environment(const Environment& environment);

// "node[03-07,12],x1" -> "node03".
std::string first_host(const std::string& node_list);

// Set in every rank that --gpus started, whatever else the launcher's own environment says.
constexpr const char* kLocalRanksVariable = "GORGON_LOCAL_RANKS";
// A name that all ranks of a job share, and no other job's on their machines.
constexpr const char* kJobVariable = "GORGON_JOB";
// The variable by which --gpus hands rank 0 its listening socket.
constexpr const char* kListeningVariable = "GORGON_LISTENING";

}  // namespace gorgon
