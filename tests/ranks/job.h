#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

#include "tests/data/temporary_directory.h"

namespace gorgon {

enum class Launcher { mpirun, variables };
bool can_launch(Launcher launcher);  // whether this build knows it

struct JobResult {
  std::vector<int> statuses;  // every rank's own; 128 + signal where one ended it
  int status = -1;            // the launcher's (mpirun)
  std::string out, err;       // of all ranks
  double seconds = 0;
};

// A program as n real processes, each under a shell that notes its process and its status: a launcher's own
// status does not tell them. What is a shell itself finds what rank R has said so far in $folder/err.R.
class Job {
 public:
  Job(Launcher launcher, int ranks, const std::string& program, const std::vector<std::string>& arguments,
      const std::map<std::string, std::string>& environment = {});
  ~Job();  // kills what still runs
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  void signal_rank(int rank, int number);
  // As a terminal does: to all of rank's group, the shell (which goes on) and what it started.
  void signal_group(int rank, int number);
  void kill_rank(int rank);
  std::vector<pid_t> started_by(int rank) const;          // processes that it has started, oldest first
  void wait_for_statuses(const std::vector<int>& ranks);  // until these have ended
  JobResult wait();

 private:
  pid_t process_of(int rank) const;  // waits until it is known; 0 when the rank has ended
  std::string noted(const std::string& name, int rank) const;

  int ranks_;
  TemporaryDirectory folder_;
  std::vector<pid_t> processes_;  // mpirun, or every rank's shell
  double started_;
};

}  // namespace gorgon
