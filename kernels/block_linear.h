#pragma once

#include "kernels/gemm.h"

namespace gorgon {

// y [M, N] = (or +=) x [M, K] W^T with W [N, K] of a block type as it lies in memory: a row of W is decoded
// once into the first-level cache and multiplied with every row of x, so that a step of decoding reads each
// weight once, in 4 to 8 bits. x f32 or bf16, y f32 or bf16 (accumulate: f32 only); strides are honoured.
// Decoded values are those of dequantise() in f32; sums are kept in f32 and rounded once. Row i of y depends
// on row i of x alone, to the bit: every sum is made in the same order whatever M and the number of threads
// (other vector widths round differently). CPU streams only: on a GPU linear() dequantises and multiplies.
void block_linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream);

namespace cpu {
void block_linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream);
}

}  // namespace gorgon
