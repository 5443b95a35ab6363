#include "kernels/cuda/device.h"
#include "optim/step_scalars.h"

namespace gorgon::cuda {

namespace {

__device__ __forceinline__ bool is_finite(double x) {
  return x - x == 0.0;
}

// One thread: a few numbers a head.
__global__ void prepare_step_kernel(const float* square_sums, int64_t n, const LossSums* losses, int heads,
                                    float lr, double max_norm, StepState* state) {
  bool finite = true;
  double total = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    const auto squares = static_cast<double>(square_sums[i]);
    finite = finite && is_finite(squares);
    total += squares;
  }
  for (int k = 0; k < heads; ++k) finite = finite && is_finite(losses[k].cross_entropy);
  const double norm = sqrt(total), scale = max_norm / (norm + 1e-6);
  state->scalars.lr = lr;
  state->scalars.grad_scale = max_norm > 0.0 && scale < 1.0 ? static_cast<float>(scale) : 1.0f;
  state->scalars.step = state->taken + 1;
  state->scalars.skip = finite ? 0 : 1;
  if (finite) state->taken += 1;
}

}  // namespace

void prepare_step(ConstView square_sums, const LossSums* losses, int heads, float lr, double max_norm,
                  StepState* state, const Stream& stream) {
  launch(prepare_step_kernel, dim3(1), dim3(1), 0, stream, square_sums.as<float>(), square_sums.elements(),
         losses, heads, lr, max_norm, state);
}

}  // namespace gorgon::cuda
