#include "optim/gradient_clipping.h"

#include "kernels/error.h"

namespace gorgon {

void square_sum(ConstView values, View sum, const Stream& stream) {
  require(values.type == DType::f32 || values.type == DType::bf16, "square_sum", "type");
  require(values.contiguous() && sum.type == DType::f32 && sum.elements() == 1, "square_sum", "shapes");
  (stream.device().kind == DeviceKind::cuda ? cuda::square_sum : cpu::square_sum)(values, sum, stream);
}

float clip_scale(double norm, double max_norm) {
  if (max_norm <= 0.0) return 1.0f;
  const double scale = max_norm / (norm + 1e-6);
  return scale < 1.0 ? static_cast<float>(scale) : 1.0f;
}

}  // namespace gorgon
