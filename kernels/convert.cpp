#include "kernels/convert.h"

#include "kernels/error.h"

namespace gorgon {

namespace {

bool is_float(DType type) {
  return type == DType::f32 || type == DType::bf16;
}

}  // namespace

void convert(ConstView from, View to, const Stream& stream) {
  require(is_float(from.type) && is_float(to.type), "convert", "types");
  require(from.elements() == to.elements() && from.contiguous() && to.contiguous(), "convert", "shapes");
  if (to.elements() == 0) return;
  (stream.device().kind == DeviceKind::cuda ? cuda::convert : cpu::convert)(from, to, stream);
}

void gather_rows(ConstView from, ConstView index, View to, const Stream& stream) {
  require(from.type == to.type && index.type == DType::i32, "gather_rows", "types");
  require(from.shape.rank() == 2 && to.shape.rank() == 2 && from.shape[1] == to.shape[1] &&
              index.elements() == to.rows(),
          "gather_rows", "shapes");
  if (to.elements() == 0) return;
  (stream.device().kind == DeviceKind::cuda ? cuda::gather_rows : cpu::gather_rows)(from, index, to, stream);
}

}  // namespace gorgon
