#include <algorithm>

#include "kernels/embedding.h"
#include "kernels/error.h"
#include "kernels/thread_pool.h"

namespace gorgon::cpu {

void embedding(ConstView tokens, const WeightMatrix& table, View x, const Stream& stream) {
  require(table.type == DType::f32 || table.type == DType::bf16, "embedding", "type of the table");
  const int64_t columns = table.columns;
  stream.threads().parallel_ranges(x.rows(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t token = tokens.as<int32_t>()[i];
      require(token >= 0 && token < table.rows, "embedding", "token outside the vocabulary");
      float* row = x.as<float>() + i * x.stride();
      if (table.type == DType::f32) {
        std::copy_n(table.view().as<float>() + token * columns, columns, row);
      } else {
        const bf16* from = table.view().as<bf16>() + token * columns;
        std::transform(from, from + columns, row, [](bf16 value) { return static_cast<float>(value); });
      }
    }
  });
}

}  // namespace gorgon::cpu
