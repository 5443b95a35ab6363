#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "kernels/weight_matrix.h"
#include "model/head_vocabulary.h"

namespace gorgon {

// What turns a head's last state into logits: a trained Linear of its own, the frozen lm_head, or lm_head + B
// A with B and A trained.
enum class HeadLinear : uint8_t { own, shared, lowrank };

struct MedusaOptions {
  int num_heads = 5;   // K
  int num_layers = 1;  // L ResBlocks a head, distinct
  HeadLinear linear = HeadLinear::own;
  int64_t rank = 16;                     // r of lowrank
  int64_t vocabulary = kFullVocabulary;  // the choice; the ids that it came to are MedusaHeads::vocab_ids
};

// One trained head: L times x + silu(W x + b), then logits = Linear x (no bias) over N tokens.
struct MedusaHead {
  struct ResBlock {
    Tensor weight;  // T[H, H]
    Tensor bias;    // T[H]
  };
  std::vector<ResBlock> blocks;
  Tensor linear;        // own: T[N, H]
  WeightMatrix frozen;  // shared, lowrank: T[N, H], rows of lm_head; one storage for all heads
  Tensor a, b;          // lowrank: T[r, H] and T[N, r]
};

// The heads, T = bf16 or f32. They start as the backbone's lm_head behind exact identities (W = b = 0; B = 0,
// A uniform in +-1/sqrt(H) as a function of (seed, head, element) alone).
struct MedusaHeads {
  MedusaOptions options;
  std::vector<int32_t> vocab_ids;  // [N] ascending; empty = the whole vocabulary, N = V
  std::vector<MedusaHead> heads;

  // lm_head [V, H] is f32, bf16 or blocks; frozen rows share its memory where nothing has to be converted.
  static MedusaHeads initialise(const MedusaOptions& options, const WeightMatrix& lm_head,
                                std::vector<int32_t> vocab_ids, DType type, uint64_t seed,
                                const Stream& stream);

  int64_t hidden() const { return heads[0].blocks[0].bias.elements(); }  // H
  int64_t outputs() const;                                               // N
};

// One trained parameter with the name it has in medusa_heads.safetensors: "{k}.{l}.linear.weight",
// "{k}.{l}.linear.bias", then "{k}.{L}.weight" (own), nothing (shared) or "{k}.{L}.A", "{k}.{L}.B" (lowrank);
// k from 0, in this order.
struct NamedParameter {
  std::string name;
  int head;
  bool is_bias;
  View view;
};
std::vector<NamedParameter> parameters(MedusaHeads& heads);

}  // namespace gorgon
