#pragma once

#include <cstdint>

namespace gorgon {

// Scale and minimum of 32 values in a block of Q4_K or Q5_K, each in 6 bits.
struct KScaleAndMin {
  uint8_t scale, min;
};

// Pair j of the 8 in 12 bytes (`get_scale_min_k4` of ggml-quants.c): the first four plainly, of the last four
// the lower 4 bits in bytes 8..11 and the upper 2 above the first four.
inline KScaleAndMin k_scale_and_min(const uint8_t* packed, int j) {
  if (j < 4) return {static_cast<uint8_t>(packed[j] & 63), static_cast<uint8_t>(packed[j + 4] & 63)};
  return {static_cast<uint8_t>((packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4)),
          static_cast<uint8_t>((packed[j + 4] >> 4) | ((packed[j] >> 6) << 4))};
}

}  // namespace gorgon
