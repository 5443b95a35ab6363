#pragma once

#include "data/sequences.h"
#include "model/backbone.h"
#include "trainer/head_trainer.h"
#include "trainer/reports.h"

namespace gorgon {

// One optimizer step, the whole way: sequences → frozen backbone → rows → heads, loss, gradients, update.
// The backbone takes `micro_batch` sequences at a time; the heads see all rows of the step at once. `rows`
// holds them, and keeps its memory for the next step.
StepRecord train_step(HeadTrainer& trainer, const Backbone& backbone, const Sequences& sequences,
                      int num_heads, int64_t micro_batch, int64_t step, StateRows& rows,
                      const Stream& stream);

}  // namespace gorgon
