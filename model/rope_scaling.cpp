#include "model/rope_scaling.h"

#include <cmath>
#include <numbers>

namespace gorgon {

std::vector<float> linear_rope_factors(int64_t head_dim, double factor) {
  return std::vector<float>(static_cast<size_t>(head_dim / 2), static_cast<float>(factor));
}

std::vector<float> llama3_rope_factors(int64_t head_dim, double theta, const Llama3Rope& rope) {
  const double longest_kept = rope.original_max_position_embeddings / rope.high_freq_factor;
  const double shortest_stretched = rope.original_max_position_embeddings / rope.low_freq_factor;
  std::vector<float> factors;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    const double wavelength = 2.0 * std::numbers::pi / frequency;
    double divisor = 1.0;
    if (wavelength > shortest_stretched) {
      divisor = rope.factor;
    } else if (wavelength >= longest_kept) {
      const double kept = (rope.original_max_position_embeddings / wavelength - rope.low_freq_factor) /
                          (rope.high_freq_factor - rope.low_freq_factor);
      divisor = 1.0 / ((1.0 - kept) / rope.factor + kept);
    }
    factors.push_back(static_cast<float>(divisor));
  }
  return factors;
}

}  // namespace gorgon
