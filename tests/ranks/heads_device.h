#pragma once

#include "kernels/ranks/rank_group.h"

namespace gorgon {

// What heads_program.cpp runs on: the CPU (heads_on_cpu.cpp), or the emulated GPU with collectives of NCCL's
// stand-in (tests/emulation/heads_on_gpu.cpp).
Device heads_device();
std::unique_ptr<Communicator> heads_communicator(RankGroup& group);  // nullptr: the host's

}  // namespace gorgon
