#include "trainer/train_step.h"

#include <chrono>

#include "trainer/state_source.h"

namespace gorgon {

StepRecord train_step(HeadTrainer& trainer, const Backbone& backbone, const Sequences& sequences,
                      int num_heads, int64_t micro_batch, int64_t step, StateRows& rows,
                      const Stream& stream) {
  const auto start = std::chrono::steady_clock::now();
  forward_state_rows(backbone, sequences, num_heads, micro_batch, rows, stream);
  StepRecord record;
  record.step = step;
  record.result = trainer.step(rows, step);
  record.rows = rows.rows();
  record.tokens = static_cast<int64_t>(sequences.tokens.size());
  record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return record;
}

}  // namespace gorgon
