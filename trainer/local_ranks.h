#pragma once

namespace gorgon {

// Starts this program `count` times on this machine with the arguments it was given, as ranks that meet over
// loopback (variables of torchrun), each in a process group of its own, passes SIGTERM, SIGINT, SIGUSR1,
// SIGTSTP and SIGCONT on to them, and waits for all; a rank that is still there 10 seconds after another one
// failed (a stopped one, say) is killed. Returns rank 0's status, or the first of another rank that is not 0;
// one that a signal ended counts as ExitCode::peer.
int run_local_ranks(int count, int argc, const char* const* argv);

}  // namespace gorgon
