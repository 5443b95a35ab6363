#pragma once

#include "kernels/gemm.h"
#include "kernels/tensor.h"

namespace gorgon {

// The element-wise half of a Medusa ResBlock, y = x + silu(u) with u = x W^T + b and silu(u) = u / (1 + e^-u)
// (Cai et al., "Medusa", 2024, equation 1); the products are gemm()'s. T = f32 or bf16. Row strides are
// honoured. Results do not depend on the number of threads.

// u f32[R, H] holds x W^T and becomes u; x T[R, H], bias T[H], y T[R, H]. y may not overlap x or u.
void resblock_forward(View u, ConstView bias, ConstView x, View y, const Stream& stream);

// dy f32[R, H], u as forward left it; du T[R, H] = dy silu'(u); dbias f32[H] = (or +=) column sums of du
// before it is rounded, rows in order. dW = du^T x and dx = dy + du W are gemm()'s.
void resblock_backward(ConstView dy, ConstView u, View du, View dbias, Write write, const Stream& stream);

namespace cpu {
void resblock_forward(View u, ConstView bias, ConstView x, View y, const Stream& stream);
void resblock_backward(ConstView dy, ConstView u, View du, View dbias, Write write, const Stream& stream);
}  // namespace cpu
namespace cuda {
void resblock_forward(View u, ConstView bias, ConstView x, View y, const Stream& stream);
void resblock_backward(ConstView dy, ConstView u, View du, View dbias, Write write, const Stream& stream);
}  // namespace cuda

}  // namespace gorgon
