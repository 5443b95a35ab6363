#pragma once

#include <cstdint>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/tensor.h"

namespace gorgon {

// The columns (tokens) of a gradient that do not vanish, and products with those alone, after Wijmans et al.,
// "Cut Your Losses in Large-Vocabulary Language Models" (2024): almost all of a softmax is too small to move
// a weight. Their blocks are tiles of a sorted vocabulary; here a column stands for itself, and the columns
// that stay are moved together. On a CPU (Error internal elsewhere).

// gradient T[R, N] of cross_entropy_gradient(), T = f32 or bf16; row_scale f32[R]. Ascending: the columns j
// with |gradient[i, j]| >= threshold * row_scale[i] in a row i of row_scale > 0. A threshold of 0 keeps all
// (of a row).
std::vector<int32_t> columns_above(ConstView gradient, ConstView row_scale, float threshold,
                                   const Stream& stream);

// In place: column t becomes column columns[t] (ascending), then zeros up to column `padded`.
void keep_columns(View gradient, const std::vector<int32_t>& columns, int64_t padded, const Stream& stream);

// to[index[i], :] = from[i, :], or += (f32 only); index ascending, within to's rows, from with as many rows
// or more; one type, f32 or bf16. Row strides are honoured.
void scatter_rows(ConstView from, const std::vector<int32_t>& index, View to, Write write,
                  const Stream& stream);

}  // namespace gorgon
