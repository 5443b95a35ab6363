#include "trainer/train_step.h"

#include <algorithm>

namespace gorgon {

void StepRunner::begin(int64_t step) {
  starts_.push_back(Clock::now());
  StepRecord record;
  record.step = step;
  try {
    trainer_.start_weights();
    record.tokens = source_.next(rows_, stream_);
    trainer_.begin(rows_, step);
  } catch (...) {
    starts_.pop_back();
    throw;
  }
  record.rows = rows_.rows();
  begun_.push_back(std::move(record));
}

// A step's own time is what passes from the end of the one before, where that came later than its beginning.
StepRecord StepRunner::finish() {
  const StepResult result = trainer_.finish();
  StepRecord record = std::move(begun_.front());
  begun_.pop_front();
  record.result = result;
  const Clock::time_point end = Clock::now(), start = std::max(starts_.front(), last_end_);
  starts_.pop_front();
  last_end_ = end;
  record.seconds = std::chrono::duration<double>(end - start).count();
  return record;
}

}  // namespace gorgon
