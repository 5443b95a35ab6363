#include "optim/step_scalars.h"

#include <cmath>

#include "kernels/error.h"
#include "optim/gradient_clipping.h"

namespace gorgon {

void prepare_step(ConstView square_sums, const LossSums* losses, int heads, float lr, double max_norm,
                  StepState* state, const Stream& stream) {
  require(square_sums.type == DType::f32 && square_sums.contiguous(), "prepare_step",
          "square sums are not f32[n]");
  (stream.device().kind == DeviceKind::cuda ? cuda::prepare_step : cpu::prepare_step)(
      square_sums, losses, heads, lr, max_norm, state, stream);
}

void cpu::prepare_step(ConstView square_sums, const LossSums* losses, int heads, float lr, double max_norm,
                       StepState* state, const Stream&) {
  bool finite = true;
  double total = 0;
  for (int64_t i = 0; i < square_sums.elements(); ++i) {
    finite = finite && std::isfinite(square_sums.as<float>()[i]);
    total += static_cast<double>(square_sums.as<float>()[i]);
  }
  for (int k = 0; k < heads; ++k) finite = finite && std::isfinite(losses[k].cross_entropy);
  const double norm = std::sqrt(total);
  state->scalars = {lr, clip_scale(norm, max_norm), state->taken + 1, finite ? 0 : 1};
  if (finite) ++state->taken;
}

}  // namespace gorgon
