#include "kernels/dequantise.h"
#include "kernels/embedding.h"
#include "kernels/error.h"
#include "kernels/thread_pool.h"

namespace gorgon::cpu {

void embedding(ConstView tokens, const WeightMatrix& table, View x, const Stream& stream) {
  const int64_t columns = table.columns, row_bytes = bytes_of(table.type, columns);
  stream.threads().parallel_ranges(x.rows(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t token = tokens.as<int32_t>()[i];
      require(token >= 0 && token < table.rows, "embedding", "token outside the vocabulary");
      dequantise_elements(table.type, table.storage->data() + token * row_bytes, columns, DType::f32,
                          x.as<float>() + i * x.stride());
    }
  });
}

}  // namespace gorgon::cpu
