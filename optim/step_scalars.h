#pragma once

#include "kernels/loss_sums.h"
#include "optim/adamw.h"

namespace gorgon {

// What the optimizer's step depends on, made where the gradients are: the host neither waits for their norm
// nor decides whether the step is skipped.
struct StepState {
  StepScalars scalars;
  int32_t taken = 0;  // t of the moments: steps that were not skipped
};

// From the squares of the gradients f32[n] (square_sum of every parameter) and the losses of K heads: scalars
// of the step with learning rate lr. grad_scale = max_norm / (norm + 1e-6) where that is below 1
// (clip_scale). A square or loss that is not finite skips the step; t advances otherwise. state, losses:
// device memory.
void prepare_step(ConstView square_sums, const LossSums* losses, int heads, float lr, double max_norm,
                  StepState* state, const Stream& stream);

namespace cpu {
void prepare_step(ConstView square_sums, const LossSums* losses, int heads, float lr, double max_norm,
                  StepState* state, const Stream& stream);
}
namespace cuda {
void prepare_step(ConstView square_sums, const LossSums* losses, int heads, float lr, double max_norm,
                  StepState* state, const Stream& stream);
}

}  // namespace gorgon
