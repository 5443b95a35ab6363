// Linked in place of the CUDA kernels of this folder where they are not built.
#include "kernels/not_built.h"
#include "optim/adamw.h"
#include "optim/gradient_clipping.h"
#include "optim/step_scalars.h"

namespace gorgon::cuda {

void adamw_step(const ParamGroup&, const AdamWState&, const AdamWOptions&, const StepScalars*,
                const Stream&) {
  not_built();
}

void prepare_step(ConstView, const LossSums*, int, float, double, StepState*, const Stream&) {
  not_built();
}

void square_sum(ConstView, View, const Stream&) {
  not_built();
}

}  // namespace gorgon::cuda
