#include "model/kv_cache.h"

#include <utility>

#include "kernels/error.h"
#include "kernels/transfer.h"

namespace gorgon {

KvCache::KvCache(const ModelConfig& config, DType type, int64_t capacity, Device device)
    : capacity_(capacity) {
  const Shape shape = {capacity, config.num_key_value_heads * config.head_dim};
  for (int64_t l = 0; l < config.num_hidden_layers; ++l) {
    keys_.emplace_back(type, shape, device);
    values_.emplace_back(type, shape, device);
  }
}

View KvCache::rows(Tensor& tensor, int64_t tokens) {
  require(tokens >= 0 && tokens <= capacity_, "KvCache", "more tokens than its capacity");
  return tensor.view().rows(0, tokens);
}

View KvCache::keys(int64_t layer, int64_t tokens) {
  return rows(keys_[static_cast<size_t>(layer)], tokens);
}

View KvCache::values(int64_t layer, int64_t tokens) {
  return rows(values_[static_cast<size_t>(layer)], tokens);
}

void KvCache::append(int64_t tokens) {
  require(tokens >= 0 && length_ + tokens <= capacity_, "KvCache::append", "more tokens than its capacity");
  length_ += tokens;
}

void KvCache::keep(std::span<const int32_t> nodes, const Stream& stream) {
  int64_t to = length_;
  int32_t previous = -1;
  for (const int32_t node : nodes) {
    require(node > previous && length_ + node < capacity_, "KvCache::keep", "nodes not ascending or outside");
    previous = node;
    const int64_t from = length_ + node;
    for (size_t l = 0; l < keys_.size() && from != to; ++l) {
      for (Tensor* tensor : {&keys_[l], &values_[l]}) {
        copy_rows(tensor->view().rows(from, from + 1), tensor->view().rows(to, to + 1), stream);
      }
    }
    ++to;
  }
  length_ = to;
}

void KvCache::truncate(int64_t length) {
  require(length >= 0 && length <= length_, "KvCache::truncate", "length");
  length_ = length;
}

void KvCache::reserve(int64_t capacity, const Stream& stream) {
  if (capacity <= capacity_) return;
  for (std::vector<Tensor>* tensors : {&keys_, &values_}) {
    for (Tensor& tensor : *tensors) {
      Tensor larger(tensor.type(), {capacity, tensor.shape()[1]}, tensor.device());
      if (length_ > 0) copy_rows(tensor.view().rows(0, length_), larger.view().rows(0, length_), stream);
      tensor = std::move(larger);
    }
  }
  capacity_ = capacity;
}

}  // namespace gorgon
