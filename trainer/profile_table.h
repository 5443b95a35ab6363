#pragma once

#include <string>

#include "kernels/profile.h"

namespace gorgon {

// The parts of a profile, longest first, and their sum, which is the wall time. "cores" is the CPU
// time of all threads over the wall time: below the number of threads where threads wait for each other or
// other programs take cores.
std::string profile_table(Profile& profile);

}  // namespace gorgon
