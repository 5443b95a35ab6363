#include "kernels/block_linear.h"

#include "kernels/error.h"

namespace gorgon {

void block_linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream) {
  const auto is_float = [](DType type) { return type == DType::f32 || type == DType::bf16; };
  require(stream.device().kind == DeviceKind::cpu, "block_linear", "a CPU stream");
  require(is_block_quantised(weight.type) && !weight.empty(), "block_linear", "a weight of blocks");
  require(is_float(x.type) && is_float(y.type), "block_linear", "types");
  require(write == Write::overwrite || y.type == DType::f32, "block_linear", "accumulate needs f32");
  require(x.shape.rank() == 2 && y.shape.rank() == 2 && x.rows() == y.rows() &&
              x.columns() == weight.columns && y.columns() == weight.rows &&
              weight.columns % traits(weight.type).block_elements == 0,
          "block_linear", "shapes");
  if (y.elements() == 0) return;
  cpu::block_linear(x, weight, y, write, stream);
}

}  // namespace gorgon
