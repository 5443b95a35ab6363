#pragma once

#include "kernels/tensor.h"
#include "kernels/weight_matrix.h"

namespace gorgon {

// Stored weights as plain numbers. Layouts and formulas are those of GGUF's block types
// (https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h); each value is computed in f32, one
// rounding per operation in the order given there, and rounded once more (to nearest even) where the output
// is bf16.

// out [R, C] (f32 or bf16, row stride honoured) = weight [R, C] of f32, f16, bf16 or a block type,
// contiguous, at any alignment. For blocks C is a multiple of the block, and rows() of such a view gives a
// range of rows. No overlap. The result does not depend on the number of threads.
void dequantise(ConstView weight, View out, const Stream& stream);

// Rows [begin, begin + R) of a matrix into out [R, weight.columns].
void dequantise(const WeightMatrix& weight, int64_t begin, View out, const Stream& stream);

// One thread's piece, for loops on the CPU that are threaded themselves: `elements` values (whole blocks)
// from `source` (any alignment) to `out` (f32 or bf16).
void dequantise_elements(DType type, const std::byte* source, int64_t elements, DType out_type, void* out);

namespace cpu {
void dequantise(ConstView weight, View out, const Stream& stream);
}
namespace cuda {
void dequantise(ConstView weight, View out, const Stream& stream);
}

}  // namespace gorgon
