#include "trainer/train_step.h"

#include <chrono>

namespace gorgon {

StepRecord train_step(HeadTrainer& trainer, StateSource& source, int64_t step, StateRows& rows,
                      const Stream& stream) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t tokens = source.next(rows, stream);
  StepRecord record;
  record.step = step;
  record.result = trainer.step(rows, step);
  record.rows = rows.rows();
  record.tokens = tokens;
  record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return record;
}

}  // namespace gorgon
