#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ranks/rank_group.h"

namespace gorgon {

// What heads_program.cpp and collectives_program.cpp run on: the CPU (heads_on_cpu.cpp), or the emulated GPU
// with NCCL's stand-in (tests/emulation/heads_on_gpu.cpp).
Device heads_device();
// What came over the wire to this rank, by `ranks` of that device: counted where it arrives.
int64_t heads_bytes_received(const Communicator& ranks);

// What a GPU was given since start_recording(), in order: work of its stream, a collective beside it, or the
// stream's wait for one. A CPU is given nothing.
enum class Given : uint8_t { work, collective, wait };
void start_recording();
std::vector<Given> recorded(const Stream& stream);

}  // namespace gorgon
