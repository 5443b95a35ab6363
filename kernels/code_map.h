#pragma once

#include <array>
#include <cstdint>

namespace gorgon {

// A map of 8-bit codes to f32 in [-1, 1], ascending (Dettmers et al., "8-bit Optimizers via Block-wise
// Quantization", ICLR 2022: dynamic tree quantisation). For i = 0..6 the midpoints of linspace(0.1, 1, n + 1)
// times 10^(i - 6), n = 2^i for the signed map (both signs) and 2^(i + 1) for the unsigned one; 0 and 1.0
// besides. The bits are those that bitsandbytes 0.44 and later build with PyTorch.
struct CodeMap {
  std::array<float, 256> values;
  // thresholds[c]: the smallest f32 whose nearest value is values[c + 1]; halfway goes to the even code.
  std::array<float, 255> thresholds;
  uint8_t zero;  // code of 0: 127 signed, 0 unsigned

  // Code of the value nearest to x, x in [-1, 1].
  uint8_t nearest(float x) const;
};

const CodeMap& signed_code_map();
const CodeMap& unsigned_code_map();

// Codes of one state: x / absmax, absmax > 0. A negative momentum never becomes 0 but the code below it.
inline uint8_t momentum_code(float m, float absmax) {
  const CodeMap& map = signed_code_map();
  const uint8_t code = map.nearest(m / absmax);
  return m < 0.0f && code == map.zero ? static_cast<uint8_t>(code - 1) : code;
}
inline uint8_t variance_code(float v, float absmax) {
  return unsigned_code_map().nearest(v / absmax);
}

}  // namespace gorgon
