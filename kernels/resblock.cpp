#include "kernels/resblock.h"

#include "kernels/error.h"

namespace gorgon {

namespace {

bool is_storage(DType type) {
  return type == DType::f32 || type == DType::bf16;
}

}  // namespace

void resblock_forward(View u, ConstView bias, ConstView x, View y, const Stream& stream) {
  require(u.shape.rank() == 2 && u.type == DType::f32, "resblock_forward", "u is no f32 matrix");
  require(is_storage(x.type) && y.type == x.type && bias.type == x.type, "resblock_forward", "types");
  require(x.shape == u.shape && y.shape == u.shape && bias.elements() == u.shape[1], "resblock_forward",
          "shapes");
  if (u.elements() == 0) return;
  (stream.device().kind == DeviceKind::cuda ? cuda::resblock_forward : cpu::resblock_forward)(u, bias, x, y,
                                                                                              stream);
}

void resblock_backward(ConstView dy, ConstView u, View du, View dbias, Write write, const Stream& stream) {
  require(u.shape.rank() == 2 && u.type == DType::f32 && dy.type == DType::f32, "resblock_backward",
          "u or dy is no f32 matrix");
  require(is_storage(du.type) && dbias.type == DType::f32, "resblock_backward", "types");
  require(dy.shape == u.shape && du.shape == u.shape && dbias.elements() == u.shape[1], "resblock_backward",
          "shapes");
  if (dbias.elements() == 0) return;
  (stream.device().kind == DeviceKind::cuda ? cuda::resblock_backward : cpu::resblock_backward)(
      dy, u, du, dbias, write, stream);
}

}  // namespace gorgon
