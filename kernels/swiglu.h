#pragma once

#include "kernels/tensor.h"

namespace gorgon {

// y = silu(gate) * up with silu(z) = z / (1 + exp(-z)), in f32, rounded once. gate_up T[n, 2 I] holds gate in
// its first I columns and up in the others, y T[n, I]; T = f32 or bf16. Row strides are honoured; y may not
// overlap gate_up.
void swiglu(ConstView gate_up, View y, const Stream& stream);

namespace cpu {
void swiglu(ConstView gate_up, View y, const Stream& stream);
}
namespace cuda {
void swiglu(ConstView gate_up, View y, const Stream& stream);
}

}  // namespace gorgon
