#pragma once

namespace gorgon {

// While one exists, SIGTERM and SIGINT do not end the process but ask it to stop; at most one exists at a
// time. The signals' former actions come back at the end.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool requested() const;
  const char* name() const;  // "SIGTERM", "SIGINT"; "" when none came
};

}  // namespace gorgon
