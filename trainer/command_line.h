#pragma once

#include "trainer/console.h"

namespace gorgon {

// Reads the command line and runs the command it names; returns the exit status (kernels/error.h). Nothing is
// thrown: every failure is one line on stderr.
int run_command_line(int argc, const char* const* argv);

}  // namespace gorgon
