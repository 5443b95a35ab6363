#pragma once

#include "kernels/tensor.h"

namespace gorgon {

// y[i] = x[i] / sqrt(mean(x[i]^2) + epsilon) * weight, row by row, in f32; y is rounded once to its type.
// As LlamaRMSNorm of transformers. x f32[n, H], weight f32[H], y f32 or bf16 [n, H], not x. Row strides of x
// and y are honoured; a row does not depend on the others.
void rms_norm(ConstView x, ConstView weight, float epsilon, View y, const Stream& stream);

namespace cpu {
void rms_norm(ConstView x, ConstView weight, float epsilon, View y, const Stream& stream);
}
namespace cuda {
void rms_norm(ConstView x, ConstView weight, float epsilon, View y, const Stream& stream);
}

}  // namespace gorgon
