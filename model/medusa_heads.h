#pragma once

#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "kernels/weight_matrix.h"

namespace gorgon {

struct MedusaOptions {
  int num_heads = 5;   // K
  int num_layers = 1;  // L ResBlocks a head, distinct
};

// One trained head: L times x + silu(W x + b), then logits = Linear x (no bias).
struct MedusaHead {
  struct ResBlock {
    Tensor weight;  // T[H, H]
    Tensor bias;    // T[H]
  };
  std::vector<ResBlock> blocks;
  Tensor linear;  // T[V, H]
};

// The heads, T = bf16 or f32. They start as the backbone's lm_head behind exact identities (W = b = 0).
struct MedusaHeads {
  MedusaOptions options;
  std::vector<MedusaHead> heads;

  static MedusaHeads initialise(const MedusaOptions& options, const WeightMatrix& lm_head, DType type,
                                const Stream& stream);
};

// One parameter with the name it has in medusa_heads.safetensors: "{k}.{l}.linear.weight",
// "{k}.{l}.linear.bias",
// "{k}.{L}.weight", k from 0, in this order.
struct NamedParameter {
  std::string name;
  int head;
  bool is_bias;
  View view;
};
std::vector<NamedParameter> parameters(MedusaHeads& heads);

}  // namespace gorgon
