#include "kernels/error.h"
#include "kernels/ranks/transport.h"

namespace gorgon {

std::unique_ptr<MpiJob> join_mpi_job() {
  fail(ExitCode::peer,
       {"mpirun", "", "a build with MPI", "one without",
        "install libopenmpi-dev and build again, or start the ranks with --gpus N, torchrun or srun"});
}

}  // namespace gorgon
