#pragma once

#include "kernels/tensor.h"
#include "kernels/weight_matrix.h"

namespace gorgon {

enum class Write { overwrite, accumulate };

// c [M, N] = op(a) op(b), or c += op(a) op(b). op transposes where asked:
//   a [M, K], or [K, M] when transpose_a;  b [K, N], or [N, K] when transpose_b.
// a and b share a type (f32 or bf16); c is f32 or bf16 (accumulate: f32 only). Sums are kept in f32 and
// rounded once. Row strides of all three are honoured; c must not overlap a or b. K = 0 gives zeros
// (overwrite) or nothing. Row i of c does not depend on M or on the number of threads (f32: to the bit; bf16:
// for equal shapes). Where the chip has no bf16 arithmetic, operands are converted while packing and
// multiplied in f32. Where the stream allows tf32, a GPU may round f32 operands to it (10 bits of fraction).
// Throws Error(internal) for shapes or types outside this contract.
struct GemmOptions {
  bool transpose_a = false;
  bool transpose_b = false;
  Write write = Write::overwrite;
};
void gemm(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream);

// y [M, rows] = x [M, columns] * weight^T, or y += (f32 only). x is f32 or bf16; y f32 or bf16.
// e4m3 goes to fp8_linear.h. Weights of another type, blocks among them, are turned into x's type on the way,
// some rows at a time; on a CPU blocks are multiplied as they are (block_linear.h), in f32 always and in bf16
// for few rows.
void linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream);
int64_t dequantised_rows(DeviceKind device);  // that are turned at a time, at most

// Backends of gemm(): checked arguments, no dimension is zero.
namespace cpu {
void gemm(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream);
}
namespace cuda {  // and e4m3 a and b, the latter transposed, with bf16 c
void gemm(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream);
}

}  // namespace gorgon
