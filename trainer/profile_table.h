#pragma once

#include <string>

#include "kernels/profile.h"

namespace gorgon {

// The parts of a profile, longest first, and their sum, which is the wall time. "cores" is how many threads
// were at work on average; the calling thread counts as one.
std::string profile_table(Profile& profile);

}  // namespace gorgon
