#pragma once

#include "kernels/tensor.h"

namespace gorgon {

// sum f32[1] = sum of squares of values T[n] (f32 or bf16, contiguous). Taken in f32 over pieces of
// kNormPiece elements, the pieces in f64 in order: bits do not depend on the number of threads. Not finite
// where a value is not, or where squares overflow (above 1e19).
constexpr int64_t kNormPiece = 4096;
void square_sum(ConstView values, View sum, const Stream& stream);

// Factor for all gradients of global L2 norm `norm` (torch.nn.utils.clip_grad_norm_):
// max_norm / (norm + 1e-6) where that is below 1, else 1. max_norm 0 = off.
float clip_scale(double norm, double max_norm);

namespace cpu {
void square_sum(ConstView values, View sum, const Stream& stream);
}
namespace cuda {
void square_sum(ConstView values, View sum, const Stream& stream);
}

}  // namespace gorgon
