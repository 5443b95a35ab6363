#pragma once

#include "kernels/tensor.h"
#include "kernels/weight_matrix.h"

namespace gorgon {

// Weights of a frozen model made smaller while they are loaded, with the values that bitsandbytes (0.44 and
// later) restores from its own storage:
//   nf4        blocks of 64 along a row: x / absmax to the nearest of 16 quantiles of the normal distribution
//   (Dettmers
//              et al., "QLoRA", 2023, section 3), halfway to the lower one
//   nf4_double the absmax too, in 8 bits of the signed code map: their mean is taken off, blocks of 256 share
//   an f32
//              absmax (section 3, "double quantisation"). Kept here is the f32 absmax that this gives back,
//              so that it costs 4.5 bits a weight rather than 4.13.
//   int8       rows to -127..127 by their absmax (Dettmers et al., "LLM.int8()", 2022), 8.5 bits a weight
// And, multiplied as they are by GPUs that can (fp8_linear.h):
//   fp8        rows to e4m3 by their absmax, 8 bits a weight
enum class Quantisation : uint8_t { none, nf4, nf4_double, int8, fp8 };

// A matrix of the CPU, f32 or bf16 [rows, columns], columns a multiple of 64, as DType::nf4 or
// DType::int8_row (fp8: to_fp8 of fp8_linear.h). Bits do not depend on the number of threads.
Tensor quantise(ConstView weight, Quantisation how, const Stream& stream);

// Type of the matrices.
DType stored_type(Quantisation how);

// The 16 values of nf4.
#define GORGON_NF4_VALUES                                                                               \
  {                                                                                                     \
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,    \
        -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, \
        0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,          \
        0.7229568362236023f, 1.0f                                                                       \
  }
inline constexpr float kNf4Values[16] = GORGON_NF4_VALUES;
inline constexpr float kInt8Step = 7.874015718698502e-3f;  // 1 / 127

}  // namespace gorgon
