#include "kernels/embedding.h"

#include "kernels/error.h"

namespace gorgon {

void embedding(ConstView tokens, const WeightMatrix& table, View x, const Stream& stream) {
  require(x.shape.rank() == 2 && tokens.elements() == x.rows() && x.columns() == table.columns, "embedding",
          "shapes");
  require(tokens.type == DType::i32 && x.type == DType::f32, "embedding", "types");
  if (x.elements() == 0) return;
  if (stream.device().kind == DeviceKind::cuda) {
    cuda::embedding(tokens, table, x, stream);
  } else {
    cpu::embedding(tokens, table, x, stream);
  }
}

}  // namespace gorgon
