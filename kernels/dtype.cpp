#include "kernels/dtype.h"

#include <array>
#include <cmath>

#include "kernels/error.h"

namespace gorgon {

const DTypeTraits& traits(DType type) {
  static constexpr std::array<DTypeTraits, 18> kTraits = {{
      {"f32", 1, 4},
      {"f16", 1, 2},
      {"bf16", 1, 2},
      {"i8", 1, 1},
      {"u8", 1, 1},
      {"i32", 1, 4},
      {"i64", 1, 8},
      {"q4_0", 32, 18},
      {"q4_1", 32, 20},
      {"q5_0", 32, 22},
      {"q5_1", 32, 24},
      {"q8_0", 32, 34},
      {"q4_k", 256, 144},
      {"q5_k", 256, 176},
      {"q6_k", 256, 210},
      {"nf4", 64, 36},
      {"int8_row", 64, 68},
      {"e4m3", 1, 1},
  }};
  return kTraits[static_cast<size_t>(type)];
}

int64_t bytes_of(DType type, int64_t elements) {
  const DTypeTraits& t = traits(type);
  require(elements >= 0 && elements % t.block_elements == 0, "bytes_of", "elements are not whole blocks");
  return elements / t.block_elements * t.block_bytes;
}

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

uint16_t f32_to_f16(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
  const uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {                                               // subnormal or zero
    const float scaled = std::bit_cast<float>(magnitude) * 16777216.0f;        // 2^24, exact
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(scaled)));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace gorgon
