#pragma once

#include "model/model_config.h"

namespace gorgon {

// Shapes of models that people train heads for, from their config.json.
inline ModelConfig llama_3_8b() {
  ModelConfig c;
  c.architecture = "llama";
  c.hidden_size = 4096;
  c.num_hidden_layers = 32;
  c.intermediate_size = 14336;
  c.num_attention_heads = 32;
  c.num_key_value_heads = 8;
  c.head_dim = 128;
  c.vocab_size = 128256;
  c.max_position_embeddings = 8192;
  return c;
}

inline ModelConfig zephyr_7b() {
  ModelConfig c = llama_3_8b();
  c.architecture = "mistral";
  c.vocab_size = 32000;
  c.max_position_embeddings = 32768;
  c.sliding_window = 4096;
  return c;
}

}  // namespace gorgon
