#pragma once

#include <chrono>
#include <deque>

#include "trainer/head_trainer.h"
#include "trainer/reports.h"
#include "trainer/state_source.h"

namespace gorgon {

// Optimizer steps, the whole way: the source's next rows, then heads, loss, gradients, update. A GPU is given
// a step's work before the numbers of the one before are read, so that it never waits for the host: at most
// two steps are begun and not finished. Anything else that the trainer is asked for needs all of them
// finished.
class StepRunner {
 public:
  // All must outlive it.
  StepRunner(HeadTrainer& trainer, StateSource& source, const Stream& stream)
      : trainer_(trainer), source_(source), stream_(stream) {}

  void begin(int64_t step);
  StepRecord finish();  // the oldest step begun
  int64_t open() const { return std::ssize(begun_); }
  // Steps that should be open while the next one begins.
  int64_t ahead() const { return stream_.device().kind == DeviceKind::cuda ? 1 : 0; }

 private:
  using Clock = std::chrono::steady_clock;
  HeadTrainer& trainer_;
  StateSource& source_;
  const Stream& stream_;
  StateRows rows_;  // of the newest step; its memory stays for the next one
  std::deque<StepRecord> begun_;
  std::deque<Clock::time_point> starts_;
  Clock::time_point last_end_{};
};

}  // namespace gorgon
