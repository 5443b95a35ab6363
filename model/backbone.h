#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model_weights.h"

namespace gorgon {

// What the layers need to know about the flat tokens of one call. Host memory.
struct BackboneContext {
  std::vector<int32_t> positions;  // [n] position of each token in its document
  std::vector<int64_t>
      offsets;  // [sequences + 1] ranges of tokens that attend among themselves, ascending from 0 to n
};

// The frozen model, layer by layer over flat tokens [n, H]. Const; there is no backward. Row i never depends
// on how many rows ride along (f32: to the bit; bf16: for equal batch shapes).
class Backbone {
 public:
  Backbone(const ModelWeights& weights, DType compute);  // weights must outlive it

  const ModelConfig& config() const { return weights_.config; }
  DType compute() const { return compute_; }

  void embed(std::span<const int32_t> tokens, View x, const Stream& stream) const;  // x [n, H] compute
  void layer(int64_t l, View x, const BackboneContext& context, const Stream& stream) const;  // x in place
  void final_norm(ConstView x, View states, const Stream& stream) const;  // [n, H] -> [n, H]
  void logits(ConstView states, View out, const Stream& stream) const;    // [n, V] f32

  // embed, all layers, final norm: states [n, H] of compute's type.
  Tensor forward(std::span<const int32_t> tokens, const BackboneContext& context, const Stream& stream) const;

 private:
  const ModelWeights& weights_;
  DType compute_;
  Tensor rope_cos_, rope_sin_;  // f32[max positions, head_dim / 2]
};

}  // namespace gorgon
