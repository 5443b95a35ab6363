#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/repeated_work.h"
#include "kernels/rotary_embedding.h"
#include "model/kv_cache.h"
#include "model/model_weights.h"

namespace gorgon {

// What the layers need to know about the flat tokens of one call. Host memory. The window is the config's.
struct BackboneContext {
  std::vector<int32_t> positions;  // [n] position of each token in its document
  std::vector<int64_t>
      offsets;  // [sequences + 1] ranges of tokens that attend among themselves, ascending from 0 to n
  // [sequences], or empty for none. The tokens of a sequence come behind those that its cache keeps; layer l
  // writes their keys and values there. The caller says afterwards which of them stay (KvCache::append,
  // keep). Borrowed.
  std::vector<KvCache*> caches;
  // [sequences], or empty for none: the tree of a sequence's tokens as in AttentionSequence::tree, or empty
  // where each token sees all before it.
  std::vector<std::vector<uint64_t>> trees;
  // Where the layers' launches are kept from one call of forward() to the next, or nullptr. Borrowed; of one
  // backbone. Calls with caches or trees do not use it.
  RepeatedWork* repeated = nullptr;

  int64_t sequences() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

// The frozen model, layer by layer over flat tokens [n, H]. Const; there is no backward. Row i never depends
// on how many rows ride along (f32: to the bit; bf16 and fp8 weights: for equal batch shapes).
//
// The residual stream x is f32 in both modes: the products of `compute` type add into it without rounding
// (accumulating GEMM), so that bf16 keeps only the errors of its operands. Everything is refused with
// Error(internal) that a caller has to prevent: tokens outside the vocabulary, positions beyond
// max_position_embeddings. A layer begins with a stop point of the stream.
class Backbone {
 public:
  Backbone(const ModelWeights& weights, DType compute);  // weights must outlive it; f32 or bf16

  const ModelConfig& config() const { return weights_.config; }
  DType compute() const { return compute_; }

  void embed(std::span<const int32_t> tokens, View x, const Stream& stream) const;            // x f32[n, H]
  void layer(int64_t l, View x, const BackboneContext& context, const Stream& stream) const;  // x in place
  void final_norm(ConstView x, View states, const Stream& stream) const;  // f32[n, H] -> compute [n, H]
  void logits(ConstView states, View out, const Stream& stream) const;    // [n, V] f32

  // Working memory of forward() over n tokens, of matrices stored as `stored`.
  static int64_t workspace_bytes(const ModelConfig& config, DType compute, DType stored, int64_t tokens,
                                 DeviceKind device);

  // embed, all layers, final norm: states [n, H] of compute's type.
  void forward(std::span<const int32_t> tokens, const BackboneContext& context, View states,
               const Stream& stream) const;
  Tensor forward(std::span<const int32_t> tokens, const BackboneContext& context, const Stream& stream) const;

 private:
  void embed_ids(ConstView ids, View x, const Stream& stream) const;
  void attend(int64_t l, View x, const BackboneContext& context, ConstView positions,
              const Stream& stream) const;
  void feed_forward(int64_t l, View x, const Stream& stream) const;
  void norm(ConstView x, const Tensor& weight, View y, const Stream& stream) const;

  const ModelWeights& weights_;
  DType compute_;
  RotaryTable rotary_;  // f32[max positions, head_dim / 2]
};

}  // namespace gorgon
