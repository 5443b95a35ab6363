#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "kernels/weight_matrix.h"
#include "model/head_shard.h"
#include "model/medusa_options.h"

namespace gorgon {

// One trained head: L times x + silu(W x + b), then logits = Linear x (no bias) over N tokens. Of a shard
// (head_shard.h), N and the weights' first H are those of its ranges.
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
  std::optional<HeadShard> shard;  // none: the heads are whole

  // lm_head [V, H] is f32, bf16 or blocks; frozen rows share its memory where nothing has to be converted.
  static MedusaHeads initialise(const MedusaOptions& options, const WeightMatrix& lm_head,
                                std::vector<int32_t> vocab_ids, DType type, uint64_t seed,
                                const Stream& stream, std::optional<HeadShard> shard = std::nullopt);

  int64_t hidden() const { return heads[0].blocks[0].bias.elements(); }  // H
  int64_t outputs() const;                                               // N, of whole heads
  int64_t own_outputs() const;                                           // of the shard
};

// One trained parameter with the name it has in medusa_heads.safetensors: "{k}.{l}.linear.weight",
// "{k}.{l}.linear.bias", then "{k}.{L}.weight" (own), nothing (shared) or "{k}.{L}.A", "{k}.{L}.B" (lowrank);
// k from 0, in this order.
struct NamedParameter {
  std::string name;
  int head;
  bool is_bias;
  View view;
  std::vector<int64_t> bounds;  // [n + 1] of the rows that each rank of a shard holds; empty = whole here
};
std::vector<NamedParameter> parameters(MedusaHeads& heads);

}  // namespace gorgon
