#pragma once

#include "kernels/tensor.h"
#include "kernels/weight_matrix.h"

namespace gorgon {

// x[i] = table[tokens[i]] in f32. tokens i32[n] within [0, table.rows) (Error internal otherwise), table of
// any type of dequantise(), x f32[n, table.columns].
void embedding(ConstView tokens, const WeightMatrix& table, View x, const Stream& stream);

namespace cpu {
void embedding(ConstView tokens, const WeightMatrix& table, View x, const Stream& stream);
}
namespace cuda {
void embedding(ConstView tokens, const WeightMatrix& table, View x, const Stream& stream);
}

}  // namespace gorgon
