#pragma once

#include "kernels/gemm.h"

namespace gorgon {

// y [M, N] = (or +=) x [M, K] W^T with W [N, K] of a block type as it lies in memory, in rows or in panels
// (block_panels.h; much faster): some rows of W are decoded in registers or the first-level cache and
// multiplied with every row of x, so that a step of decoding reads each weight once, in 4 to 8 bits. x f32 or
// bf16, y f32 or bf16 (accumulate: f32 only); strides are honoured. CPU streams only: on a GPU linear()
// dequantises first.
//
// x f32, or W in rows: decoded values are those of dequantise() in f32, sums those of gemm() on them, to the
// bit. x bf16 and W in panels: x is taken in 15 bits for each 32 columns (the largest of them is 16383, ties
// to even), its error at most 2^-15 of the largest: far below that of weights rounded to bf16. Products with
// the integers of W are then exact within the columns that share a scale (32; Q6_K: 16), scaled and added in
// f32, in order of k. Row i of y
// depends on row i of x alone, to the bit, whatever M and the number of threads.
void block_linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream);

namespace cpu {
void block_linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream);
}

}  // namespace gorgon
