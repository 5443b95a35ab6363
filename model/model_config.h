#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gorgon {

// Shape of a frozen backbone of the Llama family (Llama, Mistral). Names are those of Hugging Face's
// config.json.
struct ModelConfig {
  std::string architecture;  // "llama" or "mistral"
  int64_t hidden_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t intermediate_size = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;               // rows of lm_head
  int64_t max_position_embeddings = 0;  // tokens
  float rms_norm_eps = 1e-5f;
  float rope_theta = 10000.0f;
  std::vector<float>
      rope_factors;  // head_dim / 2 divisors of the rotary frequencies (llama3 / linear scaling); empty = 1
  std::optional<int64_t> sliding_window;  // tokens a query sees, itself included
  bool tie_word_embeddings = false;
};

}  // namespace gorgon
