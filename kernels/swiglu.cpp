#include "kernels/swiglu.h"

#include "kernels/error.h"

namespace gorgon {

void swiglu(ConstView gate_up, View y, const Stream& stream) {
  require(gate_up.shape.rank() == 2 && y.shape.rank() == 2 && gate_up.rows() == y.rows() &&
              gate_up.columns() == 2 * y.columns(),
          "swiglu", "shapes");
  require(gate_up.type == y.type && (y.type == DType::f32 || y.type == DType::bf16), "swiglu", "types");
  if (y.elements() == 0) return;
  if (stream.device().kind == DeviceKind::cuda) {
    cuda::swiglu(gate_up, y, stream);
  } else {
    cpu::swiglu(gate_up, y, stream);
  }
}

}  // namespace gorgon
