// Linked in place of the CUDA kernels of this folder where they are not built.
#include "kernels/error.h"
#include "optim/adamw.h"
#include "optim/gradient_clipping.h"
#include "optim/step_scalars.h"

namespace gorgon::cuda {

namespace {
[[noreturn]] void not_built() {
  fail(ExitCode::resource, {"", "device", "a build with CUDA", "a build without it",
                            "build with GORGON_CUDA=ON, or set device: cpu"});
}
}  // namespace

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
