#pragma once

namespace gorgon {

// While one exists, the first SIGTERM, SIGINT or SIGUSR1 (batch systems' word ahead of a time limit) does not
// end the process but asks it to stop; a SIGINT a second later or more ends it at once (`timeout` sends the
// same one twice: to the process and to its group), another one five seconds later (launchers send SIGTERM to
// the rest of a job whose first process has ended). At most one exists at a time. The signals' former actions
// come back at the end.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  // Handles signals beyond its own life: a process that is ending with its status is not to end by one that a
  // launcher sends to the rest of a job.
  void outlive();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // Gives the signals their former actions until listen(): while a person is waited for, Ctrl-C ends the
  // program.
  void rest();
  // Takes the signals again and forgets those that came.
  void listen();

  bool requested() const;
  bool is_interrupt() const;  // SIGINT: Ctrl-C
  const char* name() const;   // "SIGTERM", "SIGINT", "SIGUSR1"; "max_run_time" when none came
 private:
  bool outlives_ = false, listens_ = false;
};

}  // namespace gorgon
