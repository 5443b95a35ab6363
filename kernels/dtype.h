#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace gorgon {

// Element types. The block types are GGUF's and those of quantise.h: `block_elements` values share
// `block_bytes` bytes along a row.
enum class DType : uint8_t {
  f32,
  f16,
  bf16,
  i8,
  u8,
  i32,
  i64,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q4_k,
  q5_k,
  q6_k,
  nf4,       // 64 values: f32 absmax, two codes a byte, the first one in the upper half (quantise.h)
  int8_row,  // 64 values: f32 absmax of the row, signed bytes
  e4m3,      // 8 bits: sign, 4 of exponent, 3 of fraction; the scales lie elsewhere (fp8_linear.h)
};

struct DTypeTraits {
  std::string_view name;
  int block_elements;  // 1 for plain types
  int block_bytes;
};

const DTypeTraits& traits(DType type);
inline std::string_view name(DType type) {
  return traits(type).name;
}
inline bool is_block_quantised(DType type) {
  return traits(type).block_elements > 1;
}

// Bytes of `elements` values; elements must be a multiple of the block (throws Error internal otherwise).
int64_t bytes_of(DType type, int64_t elements);

// Storage type of brain floating point: the upper half of an IEEE f32. Conversion rounds to nearest even.
struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  explicit bf16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((u >> 16) | 0x40u);  // keep NaN a NaN
    } else {
      bits = static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
  friend bool operator==(bf16 a, bf16 b) { return a.bits == b.bits; }
};

// IEEE half precision, storage only.
float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);

}  // namespace gorgon
