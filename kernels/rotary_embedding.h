#pragma once

#include <vector>

#include "kernels/tensor.h"

namespace gorgon {

// cos and sin of position p times frequency i: f32[positions, head_dim / 2].
struct RotaryTable {
  Tensor cos, sin;
};

// Frequency i is theta^(-2 i / head_dim) / factors[i] (factors empty: 1), computed in f32 as transformers
// does; cosines and sines are those of the f32 angle, rounded once.
RotaryTable rotary_table(int64_t head_dim, float theta, const std::vector<float>& factors, int64_t positions,
                         Device device);

// Rotates every head of every row in place, in f32: element i of a head is paired with i + head_dim / 2
// ("rotate_half"). x f32 or bf16 [n, heads * head_dim], row stride honoured; positions i32[n], all inside
// the table.
void rotary_embedding(View x, int64_t head_dim, ConstView positions, const RotaryTable& table,
                      const Stream& stream);

namespace cpu {
void rotary_embedding(View x, int64_t head_dim, ConstView positions, const RotaryTable& table,
                      const Stream& stream);
}
namespace cuda {
void rotary_embedding(View x, int64_t head_dim, ConstView positions, const RotaryTable& table,
                      const Stream& stream);
}

}  // namespace gorgon
