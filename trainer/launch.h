#pragma once

#include <functional>
#include <string>

#include "kernels/error.h"
#include "kernels/ranks/rank_group.h"
#include "trainer/console.h"

namespace gorgon {

// A parsed command, ready to run.
struct Launch {
  using Run = std::function<int(Console&, RankGroup&)>;  // gives the exit status
  Run run;
  std::string command;  // its name: ranks must have been given the same
  // Where several processes work together at the command: which job it is, and how long they wait.
  std::function<MeetingTerms()> terms;
  int gpus = 1;  // processes to start on this machine
};

// Runs it as one process, as a rank of those that a launcher has started, or by starting so many itself.
// Every exception ends here, as one line on stderr (of one rank) and its exit status; output that could not
// be printed is such an error.
int launch(const Launch& arguments, int argc, const char* const* argv);

struct Failure {
  std::string message;
  ExitCode code;
};

// Of a process that has not met the other ranks of its job: they are told, and one of them says it. Gives the
// exit status.
int report_before_meeting(const LaunchEnvironment& launched, const Failure& failure);
// The same of the exception that is being handled.
int report_before_meeting();

// The launcher's variables; of a single process where they are wrong, which launch() tells.
LaunchEnvironment launch_environment_or_none();

}  // namespace gorgon
