#pragma once

#include "kernels/gemm.h"

namespace gorgon {

// Products of 8-bit operands: e4m3 (Micikevicius et al., "FP8 formats for deep learning", 2022: sign, 4 bits
// of exponent with bias 7, 3 of fraction, largest value 448, no infinity) with an f32 scale for each row of
// either operand, absmax / 448, so that a row of the result depends on its own rows alone. GPUs of compute
// capability 8.9 and later multiply such operands as they are.

// To nearest even; beyond 448 the largest value, NaN stays NaN (0x7f).
uint8_t to_e4m3(float value);
float from_e4m3(uint8_t code);

// Whether a device multiplies them.
bool has_fp8(Device device);
// Throws Error(config), naming the key fp8, where it does not.
void check_fp8(Device device);

// A matrix of the CPU, f32 or bf16, as e4m3 with scales. Bits do not depend on the number of threads.
WeightMatrix to_fp8(ConstView weight, const Stream& stream);

// y [M, N] = x [M, K] * weight [N, K]^T, or y += (f32 only); x bf16, y bf16 or f32, weight e4m3; K and N are
// multiples of 16. x is rounded row by row; the product of the codes is summed in f32 (by what the chip calls
// fast accumulation), rounded to bf16, then scaled. Strides are honoured, x and y do not overlap. A stream of
// a GPU that has_fp8. Working memory (bytes) is borrowed from the stream.
void fp8_linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream);
int64_t fp8_workspace_bytes(int64_t rows, int64_t columns, int64_t outputs, DType y);

namespace cuda {
// codes e4m3 [M, K], scales f32[M] of x bf16 [M, K].
void quantise_rows(ConstView x, View codes, View scales, const Stream& stream);
// y = or += codes' product (bf16, y itself or another matrix) times row_scales f32[M] times column_scales
// f32[N]
void scale_product(ConstView product, ConstView row_scales, ConstView column_scales, View y, Write write,
                   const Stream& stream);
int compute_capability(int index);  // 89 is 8.9
}  // namespace cuda

}  // namespace gorgon
