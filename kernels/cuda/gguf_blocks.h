#pragma once

#include "kernels/cuda/device.h"
#include "kernels/error.h"
#include "kernels/quantise.h"

namespace gorgon::cuda {

// GGUF's block types, and those of quantise.h, on the device, a value at a time (layouts: ggml-common.h of
// ggml). One rounding per operation, as the CPU backend does it. Blocks lie at any address, so their fields
// are put together from bytes.

__device__ __forceinline__ uint32_t read_u16(const uint8_t* from) {
  return static_cast<uint32_t>(from[0]) | static_cast<uint32_t>(from[1]) << 8;
}

__device__ __forceinline__ float half_to_float(uint32_t half) {
  const uint32_t magnitude = (half & 0x7fffu) << 13, sign = (half & 0x8000u) << 16;
  const bool special = (half & 0x7c00u) == 0x7c00u;                                // infinities and NaN
  const float scaled = __uint_as_float(magnitude) * __uint_as_float(0x77800000u);  // 2^112, exact
  return __uint_as_float(sign | (special ? magnitude | 0x7f800000u : __float_as_uint(scaled)));
}
__device__ __forceinline__ float read_half(const uint8_t* from) {
  return half_to_float(read_u16(from));
}

// Value j of a block of 32 whose byte i holds value i below and value i + 16 above.
__device__ __forceinline__ int nibble(const uint8_t* low, int j) {
  return j < 16 ? low[j] & 15 : low[j - 16] >> 4;
}
__device__ __forceinline__ int fifth_bit(const uint8_t* high, int j) {
  return (high[j / 8] >> (j % 8) & 1) << 4;
}

struct ScaleAndMin {
  float scale, min;
};
// Scale and minimum j of the 8 that 12 bytes hold in 6 bits each.
__device__ __forceinline__ ScaleAndMin scale_and_min(const uint8_t* packed, int j) {
  if (j < 4) return {static_cast<float>(packed[j] & 63), static_cast<float>(packed[j + 4] & 63)};
  return {static_cast<float>((packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4),
          static_cast<float>(packed[j + 4] >> 4 | (packed[j] >> 6) << 4)};
}

template <DType>
struct Block;  // elements, bytes, and value j of the block

template <>
struct Block<DType::f32> {
  static constexpr int kElements = 1, kBytes = 4;
  static __device__ float value(const uint8_t* block, int) {
    return __uint_as_float(read_u16(block) | read_u16(block + 2) << 16);
  }
};
template <>
struct Block<DType::f16> {
  static constexpr int kElements = 1, kBytes = 2;
  static __device__ float value(const uint8_t* block, int) { return read_half(block); }
};
template <>
struct Block<DType::bf16> {
  static constexpr int kElements = 1, kBytes = 2;
  static __device__ float value(const uint8_t* block, int) { return __uint_as_float(read_u16(block) << 16); }
};
template <>
struct Block<DType::q4_0> {
  static constexpr int kElements = 32, kBytes = 18;
  static __device__ float value(const uint8_t* block, int j) {
    return read_half(block) * static_cast<float>(nibble(block + 2, j) - 8);
  }
};
template <>
struct Block<DType::q4_1> {
  static constexpr int kElements = 32, kBytes = 20;
  static __device__ float value(const uint8_t* block, int j) {
    return read_half(block) * static_cast<float>(nibble(block + 4, j)) + read_half(block + 2);
  }
};
template <>
struct Block<DType::q5_0> {
  static constexpr int kElements = 32, kBytes = 22;
  static __device__ float value(const uint8_t* block, int j) {
    return read_half(block) * static_cast<float>((nibble(block + 6, j) | fifth_bit(block + 2, j)) - 16);
  }
};
template <>
struct Block<DType::q5_1> {
  static constexpr int kElements = 32, kBytes = 24;
  static __device__ float value(const uint8_t* block, int j) {
    const auto q = static_cast<float>(nibble(block + 8, j) | fifth_bit(block + 4, j));
    return read_half(block) * q + read_half(block + 2);
  }
};
template <>
struct Block<DType::q8_0> {
  static constexpr int kElements = 32, kBytes = 34;
  static __device__ float value(const uint8_t* block, int j) {
    return read_half(block) * static_cast<float>(static_cast<int8_t>(block[2 + j]));
  }
};

// 256 values in 8 parts of 32; parts 2i and 2i + 1 are the halves of the same 32 bytes.
__device__ __forceinline__ float part_value(const uint8_t* block, int part, int q) {
  const ScaleAndMin s = scale_and_min(block + 4, part);
  const float d = read_half(block) * s.scale, min = read_half(block + 2) * s.min;
  return d * static_cast<float>(q) - min;
}
template <>
struct Block<DType::q4_k> {
  static constexpr int kElements = 256, kBytes = 144;
  static __device__ float value(const uint8_t* block, int j) {
    const int part = j / 32;
    return part_value(block, part, block[16 + 32 * (part / 2) + j % 32] >> part % 2 * 4 & 15);
  }
};
template <>
struct Block<DType::q5_k> {
  static constexpr int kElements = 256, kBytes = 176;
  static __device__ float value(const uint8_t* block, int j) {
    const int part = j / 32;
    const int low = block[48 + 32 * (part / 2) + j % 32] >> part % 2 * 4 & 15;
    return part_value(block, part, low | (block[16 + j % 32] >> part & 1) << 4);
  }
};
template <>
struct Block<DType::q6_k> {
  static constexpr int kElements = 256, kBytes = 210;
  static __device__ float value(const uint8_t* block, int j) {
    const int half = j / 128, quarter = j / 32 % 4, i = j % 32;
    const int low = block[64 * half + 32 * (quarter % 2) + i] >> quarter / 2 * 4 & 15;
    const int high = block[128 + 32 * half + i] >> 2 * quarter & 3;
    const auto scale = static_cast<float>(static_cast<int8_t>(block[192 + j / 16]));
    return read_half(block + 208) * scale * static_cast<float>((low | high << 4) - 32);
  }
};

template <>
struct Block<DType::nf4> {
  static constexpr int kElements = 64, kBytes = 36;
  static __device__ float value(const uint8_t* block, int j) {
    const float values[16] = GORGON_NF4_VALUES;
    return values[j % 2 == 0 ? block[4 + j / 2] >> 4 : block[4 + j / 2] & 15] *
           Block<DType::f32>::value(block, 0);
  }
};
template <>
struct Block<DType::int8_row> {
  static constexpr int kElements = 64, kBytes = 68;
  static __device__ float value(const uint8_t* block, int j) {
    return static_cast<float>(static_cast<int8_t>(block[4 + j])) * Block<DType::f32>::value(block, 0) *
           kInt8Step;
  }
};

// Calls body with the Block of a type that dequantise() takes.
template <typename Body>
void with_block(DType type, Body&& body) {
  switch (type) {
    case DType::f32:
      return body(Block<DType::f32>{});
    case DType::f16:
      return body(Block<DType::f16>{});
    case DType::bf16:
      return body(Block<DType::bf16>{});
    case DType::q4_0:
      return body(Block<DType::q4_0>{});
    case DType::q4_1:
      return body(Block<DType::q4_1>{});
    case DType::q5_0:
      return body(Block<DType::q5_0>{});
    case DType::q5_1:
      return body(Block<DType::q5_1>{});
    case DType::q8_0:
      return body(Block<DType::q8_0>{});
    case DType::q4_k:
      return body(Block<DType::q4_k>{});
    case DType::q5_k:
      return body(Block<DType::q5_k>{});
    case DType::q6_k:
      return body(Block<DType::q6_k>{});
    case DType::nf4:
      return body(Block<DType::nf4>{});
    case DType::int8_row:
      return body(Block<DType::int8_row>{});
    default:
      fail_internal("dequantise", "a type that holds no weights");
  }
}

}  // namespace gorgon::cuda
