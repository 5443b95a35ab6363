#pragma once

#include "kernels/ranks/nccl_api.h"

namespace gorgon::emulation {

// NCCL's functions for processes of one machine whose GPUs are emulated: bytes go through a file in shared
// memory, a piece at a time, and sums are taken in the order of ranks, in f32. Calls run when they are made,
// those of a group too. A rank that does not come within a minute ends the call with an error.
NcclApi nccl_stand_in();

}  // namespace gorgon::emulation
