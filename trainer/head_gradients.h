#pragma once

#include <vector>

#include "kernels/tensor.h"

namespace gorgon {

// Gradients of all parameters, kept until the norm is known, and the f32 sums of the head at work.
struct KeptGradients {
  std::vector<Tensor> kept;        // T, in the order of parameters()
  std::vector<Tensor> weight_sum;  // bf16 only: [L] of f32[H, H]
  std::vector<Tensor> last_sum;  // bf16 only: f32 for what follows the blocks, when a step has several chunks
  std::vector<Tensor> bias_sum;  // bf16 only: [L] of f32[H] (divided: [H_r])
};

}  // namespace gorgon
