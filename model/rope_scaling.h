#pragma once

#include <cstdint>
#include <vector>

namespace gorgon {

// Divisors of the rotary frequencies, head_dim / 2 of them (ModelConfig::rope_factors).

std::vector<float> linear_rope_factors(int64_t head_dim, double factor);

// Llama 3.1's: long wavelengths are stretched by `factor`, short ones are kept, those between are blended
// (transformers, modeling_rope_utils.py, _compute_llama3_parameters).
struct Llama3Rope {
  double factor;
  double low_freq_factor;
  double high_freq_factor;
  double original_max_position_embeddings;  // tokens
};
std::vector<float> llama3_rope_factors(int64_t head_dim, double theta, const Llama3Rope& rope);

}  // namespace gorgon
