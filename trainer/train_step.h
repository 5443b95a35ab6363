#pragma once

#include "trainer/head_trainer.h"
#include "trainer/reports.h"
#include "trainer/state_source.h"

namespace gorgon {

// One optimizer step, the whole way: the source's next rows, then heads, loss, gradients, update. `rows`
// holds them, and keeps its memory for the next step.
StepRecord train_step(HeadTrainer& trainer, StateSource& source, int64_t step, StateRows& rows,
                      const Stream& stream);

}  // namespace gorgon
