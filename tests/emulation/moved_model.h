#pragma once

#include <memory>

#include "model/model_weights.h"

namespace gorgon {

// A model's copy on another device.
inline WeightMatrix moved(const WeightMatrix& matrix, Device device) {
  WeightMatrix to = matrix;
  to.storage = std::make_shared<const Tensor>(matrix.storage->to(device));
  if (matrix.scales != nullptr) to.scales = std::make_shared<const Tensor>(matrix.scales->to(device));
  return to;
}
inline ModelWeights moved(const ModelWeights& weights, Device device) {
  ModelWeights to;
  to.config = weights.config;
  to.token_embedding = moved(weights.token_embedding, device);
  to.lm_head = moved(weights.lm_head, device);
  to.final_norm = weights.final_norm.to(device);
  for (const LayerWeights& l : weights.layers) {
    to.layers.push_back({l.attention_norm.to(device), moved(l.query_key_value, device),
                         moved(l.attention_output, device), l.feed_forward_norm.to(device),
                         moved(l.gate_up, device), moved(l.down, device),
                         l.value.empty() ? WeightMatrix{} : moved(l.value, device)});
  }
  return to;
}

}  // namespace gorgon
