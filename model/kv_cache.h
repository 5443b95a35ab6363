#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/tensor.h"
#include "model/model_config.h"

namespace gorgon {

// Keys (rotated) and values of one sequence's tokens, for every layer. A call of the backbone writes its new
// tokens behind the `length` kept ones; keep() decides which of them stay.
class KvCache {
 public:
  // type: that of the backbone's compute. capacity: tokens, new ones included.
  KvCache(const ModelConfig& config, DType type, int64_t capacity, Device device = {});

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }
  // The first `tokens` rows T[tokens, kv_heads * head_dim] of a layer; tokens may reach beyond length().
  // Throws Error(internal) beyond the capacity.
  View keys(int64_t layer, int64_t tokens);
  View values(int64_t layer, int64_t tokens);

  // The first `tokens` of the last call stay.
  void append(int64_t tokens);
  // Of the last call's tokens those with these indices (ascending) stay, moved up behind the kept ones: an
  // accepted path of a tree. Keys need no second rotation, a node's position being that of its depth. The
  // moves take their place in the stream.
  void keep(std::span<const int32_t> nodes, const Stream& stream);
  // Forgets all but the first `length` tokens.
  void truncate(int64_t length);
  // Makes room for `capacity` tokens where there is less; the kept ones move.
  void reserve(int64_t capacity, const Stream& stream);

 private:
  View rows(Tensor& tensor, int64_t tokens);

  std::vector<Tensor> keys_, values_;  // per layer T[capacity, kv_heads * head_dim]
  int64_t length_ = 0;
  int64_t capacity_;
};

}  // namespace gorgon
