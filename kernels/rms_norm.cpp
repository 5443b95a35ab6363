#include "kernels/rms_norm.h"

#include "kernels/error.h"

namespace gorgon {

void rms_norm(ConstView x, ConstView weight, float epsilon, View y, const Stream& stream) {
  require(x.shape.rank() == 2 && x.shape == y.shape && weight.elements() == x.columns(), "rms_norm",
          "shapes");
  require(x.type == DType::f32 && weight.type == DType::f32 && weight.contiguous(), "rms_norm",
          "x or weight");
  require(y.type == DType::f32 || y.type == DType::bf16, "rms_norm", "type of y");
  if (x.elements() == 0) return;
  if (stream.device().kind == DeviceKind::cuda) {
    cuda::rms_norm(x, weight, epsilon, y, stream);
  } else {
    cpu::rms_norm(x, weight, epsilon, y, stream);
  }
}

}  // namespace gorgon
