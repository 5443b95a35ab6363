#pragma once

#include <cmath>
#include <memory>
#include <random>

#include "model/model_weights.h"

namespace gorgon {

// A model of random numbers, small enough that everything about it can be tried: two layers, grouped queries,
// untied lm_head. Weights are large enough that answers differ from prompt to prompt.
class TinyModel {
 public:
  explicit TinyModel(uint32_t seed, int64_t vocabulary = 24) : generator_(seed) {
    ModelConfig& c = weights_.config;
    c.architecture = "llama";
    c.hidden_size = 32;
    c.num_hidden_layers = 2;
    c.intermediate_size = 48;
    c.num_attention_heads = 4;
    c.num_key_value_heads = 2;
    c.head_dim = 8;
    c.vocab_size = vocabulary;
    c.max_position_embeddings = 96;
    weights_.token_embedding = matrix(vocabulary, 32, 1.0);
    for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
      LayerWeights layer;
      layer.attention_norm = ones(32);
      layer.query_key_value = matrix(64, 32, 2.0);
      layer.attention_output = matrix(32, 32, 2.0);
      layer.feed_forward_norm = ones(32);
      layer.gate_up = matrix(96, 32, 2.0);
      layer.down = matrix(32, 48, 2.0);
      weights_.layers.push_back(std::move(layer));
    }
    weights_.final_norm = ones(32);
    weights_.lm_head = matrix(vocabulary, 32, 1.0);
    weights_.fingerprint = "tiny";
  }

  const ModelWeights& weights() const { return weights_; }
  void round_to_bf16() {
    round(weights_.token_embedding);
    round(weights_.lm_head);
    for (LayerWeights& layer : weights_.layers) {
      for (WeightMatrix* m : {&layer.query_key_value, &layer.attention_output, &layer.gate_up, &layer.down})
        round(*m);
    }
  }

  // f32 [rows, columns], normal with deviation scale / sqrt(columns).
  WeightMatrix matrix(int64_t rows, int64_t columns, double scale) {
    std::normal_distribution<float> normal(
        0, static_cast<float>(scale / std::sqrt(static_cast<double>(columns))));
    Tensor values(DType::f32, {rows, columns});
    for (int64_t i = 0; i < rows * columns; ++i) values.as<float>()[i] = normal(generator_);
    return {DType::f32, rows, columns, std::make_shared<const Tensor>(std::move(values))};
  }
  std::vector<int32_t> prompt(int length) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < length; ++i) {
      tokens.push_back(
          static_cast<int32_t>(generator_() % static_cast<uint32_t>(weights_.config.vocab_size)));
    }
    return tokens;
  }

 private:
  static void round(WeightMatrix& m) {
    Tensor values(DType::bf16, {m.rows, m.columns});
    for (int64_t i = 0; i < m.rows * m.columns; ++i) values.as<bf16>()[i] = bf16(m.storage->as<float>()[i]);
    m = {DType::bf16, m.rows, m.columns, std::make_shared<const Tensor>(std::move(values))};
  }
  static Tensor ones(int64_t n) { return Tensor::of(std::vector<float>(static_cast<size_t>(n), 1.0f), {n}); }

  std::mt19937 generator_;
  ModelWeights weights_;
};

}  // namespace gorgon
