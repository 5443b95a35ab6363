// The block layouts, as ggml-common.h declares them (fields in order, little-endian, no padding):
//   q4_0  f16 d; u8 low[16]                        y = d (q - 8)        q4_1  f16 d, m; u8 low[16]      y = d
//   q + m q5_0  f16 d; u32 high; u8 low[16]              y = d (q - 16)       q5_1  f16 d, m; u32 high; ...
//   y = d q + m q8_0  f16 d; i8 q[32]                          y = d q q4_k  f16 d, dmin; u8 scales[12]; u8
//   low[128]; q5_k the same with u8 high[32] before low:
//         y = (d scale) q - (dmin min), scale and min in 6 bits for each 32 values
//   q6_k  u8 low[128]; u8 high[64]; i8 scales[16]; f16 d:  y = (d scale) (q - 32), a scale for each 16 values
// In blocks of 32, byte j of `low` holds value j in its lower half and value j + 16 in its upper half.
#include <bit>
#include <cstring>

#include "kernels/dequantise.h"
#include "kernels/error.h"
#include "kernels/k_scales.h"
#include "kernels/quantise.h"
#include "kernels/thread_pool.h"

namespace gorgon {

namespace {

constexpr int kLargestBlock = 256;

template <typename T>
T load(const std::byte* from) {  // files put values at any alignment
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

float load_half(const std::byte* from) {
  return f16_to_f32(load<uint16_t>(from));
}

const uint8_t* bytes_at(const std::byte* from) {
  return reinterpret_cast<const uint8_t*>(from);
}

void decode_q4_0(const std::byte* block, float* y) {
  const float d = load_half(block);
  const uint8_t* low = bytes_at(block + 2);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>((low[j] & 15) - 8);
    y[j + 16] = d * static_cast<float>((low[j] >> 4) - 8);
  }
}

void decode_q4_1(const std::byte* block, float* y) {
  const float d = load_half(block);
  const float m = load_half(block + 2);
  const uint8_t* low = bytes_at(block + 4);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(low[j] & 15) + m;
    y[j + 16] = d * static_cast<float>(low[j] >> 4) + m;
  }
}

// The fifth bit of value j is bit j of `high`.
int five_bits(int low, uint32_t high, int j) {
  return low | static_cast<int>(((high >> j) & 1u) << 4);
}

void decode_q5_0(const std::byte* block, float* y) {
  const float d = load_half(block);
  const uint32_t high = load<uint32_t>(block + 2);
  const uint8_t* low = bytes_at(block + 6);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(five_bits(low[j] & 15, high, j) - 16);
    y[j + 16] = d * static_cast<float>(five_bits(low[j] >> 4, high, j + 16) - 16);
  }
}

void decode_q5_1(const std::byte* block, float* y) {
  const float d = load_half(block);
  const float m = load_half(block + 2);
  const uint32_t high = load<uint32_t>(block + 4);
  const uint8_t* low = bytes_at(block + 8);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(five_bits(low[j] & 15, high, j)) + m;
    y[j + 16] = d * static_cast<float>(five_bits(low[j] >> 4, high, j + 16)) + m;
  }
}

void decode_q8_0(const std::byte* block, float* y) {
  const float d = load_half(block);
  const auto* q = reinterpret_cast<const int8_t*>(block + 2);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(q[j]);
}

void decode_q4_k(const std::byte* block, float* y) {
  const float d = load_half(block);
  const float dmin = load_half(block + 2);
  for (int part = 0; part < 8; ++part) {  // 32 values: halves of the same 32 bytes for parts 2i and 2i + 1
    const auto [scale, min] = k_scale_and_min(bytes_at(block + 4), part);
    const float part_d = d * static_cast<float>(scale);
    const float part_min = dmin * static_cast<float>(min);
    const uint8_t* low = bytes_at(block + 16) + 32 * (part / 2);
    const int shift = part % 2 * 4;
    for (int j = 0; j < 32; ++j) {
      y[32 * part + j] = part_d * static_cast<float>((low[j] >> shift) & 15) - part_min;
    }
  }
}

void decode_q5_k(const std::byte* block, float* y) {
  const float d = load_half(block);
  const float dmin = load_half(block + 2);
  const uint8_t* high = bytes_at(block + 16);  // bit `part` of byte j is the fifth bit of value j of the part
  for (int part = 0; part < 8; ++part) {
    const auto [scale, min] = k_scale_and_min(bytes_at(block + 4), part);
    const float part_d = d * static_cast<float>(scale);
    const float part_min = dmin * static_cast<float>(min);
    const uint8_t* low = bytes_at(block + 48) + 32 * (part / 2);
    const int shift = part % 2 * 4;
    for (int j = 0; j < 32; ++j) {
      const int q = ((low[j] >> shift) & 15) | (((high[j] >> part) & 1) << 4);
      y[32 * part + j] = part_d * static_cast<float>(q) - part_min;
    }
  }
}

void decode_q6_k(const std::byte* block, float* y) {
  const float d = load_half(block + 208);
  const auto* scales = reinterpret_cast<const int8_t*>(block + 192);
  for (int part = 0; part < 8; ++part) {  // 32 values; each half of the block has 64 bytes of low, 32 of high
    const int half = part / 4;
    const int quarter = part % 4;  // 0, 1: lower nibbles of two runs of 32 bytes; 2, 3: their upper nibbles
    const uint8_t* low = bytes_at(block) + 64 * half + 32 * (quarter % 2);
    const uint8_t* high = bytes_at(block + 128) + 32 * half;
    for (int run = 0; run < 2; ++run) {
      const float scale = d * static_cast<float>(scales[2 * part + run]);
      for (int i = 16 * run; i < 16 * run + 16; ++i) {
        const int q = ((low[i] >> (quarter / 2 * 4)) & 15) | (((high[i] >> (2 * quarter)) & 3) << 4);
        y[32 * part + i] = scale * static_cast<float>(q - 32);
      }
    }
  }
}

// f16_to_f32 without branches, for loops over many values: both ways are taken and one is picked by masks
// (the compiler turns ?: into a branch here and gives up vectors).
float half_value(uint16_t bits) {
  const uint32_t magnitude = bits & 0x7fffu;
  const float subnormal = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f;
  const uint32_t not_finite = 0u - static_cast<uint32_t>(magnitude >= 0x7c00u);
  const uint32_t normal = (magnitude << 13) + (112u << 23) + (not_finite & (112u << 23));
  const uint32_t small = 0u - static_cast<uint32_t>(magnitude < 0x400u);  // all bits or none
  const uint32_t value = (std::bit_cast<uint32_t>(subnormal) & small) | (normal & ~small);
  return std::bit_cast<float>(value | (static_cast<uint32_t>(bits & 0x8000u) << 16));
}

void decode_nf4(const std::byte* block, float* y) {
  const float absmax = load<float>(block);
  const uint8_t* codes = bytes_at(block + 4);
  for (int j = 0; j < 32; ++j) {
    y[2 * j] = kNf4Values[codes[j] >> 4] * absmax;
    y[2 * j + 1] = kNf4Values[codes[j] & 15] * absmax;
  }
}

void decode_int8_row(const std::byte* block, float* y) {
  const float absmax = load<float>(block);
  const auto* q = reinterpret_cast<const int8_t*>(block + 4);
  for (int j = 0; j < 64; ++j) y[j] = static_cast<float>(q[j]) * absmax * kInt8Step;
}

template <typename Stored, typename Convert>
void decode_plain(const std::byte* source, int count, float* y, Convert convert) {
  for (int i = 0; i < count; ++i)
    y[i] = convert(load<Stored>(source + sizeof(Stored) * static_cast<size_t>(i)));
}

// `count` values (whole blocks) to f32.
void decode(DType type, const std::byte* source, int count, float* y) {
  const auto blocks = [&](void (*one)(const std::byte*, float*)) {
    const DTypeTraits& t = traits(type);
    for (int i = 0; i < count; i += t.block_elements, source += t.block_bytes) one(source, y + i);
  };
  switch (type) {
    case DType::f32:
      return decode_plain<float>(source, count, y, [](float v) { return v; });
    case DType::f16:
      return decode_plain<uint16_t>(source, count, y, half_value);
    case DType::bf16:
      return decode_plain<bf16>(source, count, y, [](bf16 v) { return static_cast<float>(v); });
    case DType::q4_0:
      return blocks(decode_q4_0);
    case DType::q4_1:
      return blocks(decode_q4_1);
    case DType::q5_0:
      return blocks(decode_q5_0);
    case DType::q5_1:
      return blocks(decode_q5_1);
    case DType::q8_0:
      return blocks(decode_q8_0);
    case DType::q4_k:
      return blocks(decode_q4_k);
    case DType::q5_k:
      return blocks(decode_q5_k);
    case DType::q6_k:
      return blocks(decode_q6_k);
    case DType::nf4:
      return blocks(decode_nf4);
    case DType::int8_row:
      return blocks(decode_int8_row);
    default:
      fail_internal("dequantise", "a type that holds no weights");
  }
}

}  // namespace

void dequantise_elements(DType type, const std::byte* source, int64_t elements, DType out_type, void* out) {
  if (type == out_type) {
    std::memcpy(out, source, static_cast<size_t>(bytes_of(type, elements)));
    return;
  }
  if (out_type == DType::f32) {
    auto* y = static_cast<float*>(out);
    for (int64_t i = 0; i < elements; i += kLargestBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kLargestBlock, elements - i));
      decode(type, source + bytes_of(type, i), count, y + i);
    }
    return;
  }
  auto* y = static_cast<bf16*>(out);
  float values[kLargestBlock];
  for (int64_t i = 0; i < elements; i += kLargestBlock) {
    const int count = static_cast<int>(std::min<int64_t>(kLargestBlock, elements - i));
    decode(type, source + bytes_of(type, i), count, values);
    for (int j = 0; j < count; ++j) y[i + j] = bf16(values[j]);
  }
}

void cpu::dequantise(ConstView weight, View out, const Stream& stream) {
  const int64_t columns = weight.columns();
  constexpr int64_t kElementsPerPiece = 1 << 16;
  const int64_t rows_per_piece = std::max<int64_t>(1, kElementsPerPiece / columns);
  const size_t source_row = static_cast<size_t>(bytes_of(weight.type, columns));
  const size_t out_row = static_cast<size_t>(bytes_of(out.type, out.stride()));
  stream.threads().parallel_ranges(weight.rows(), rows_per_piece, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto r = static_cast<size_t>(row);
      dequantise_elements(weight.type, weight.data + r * source_row, columns, out.type,
                          out.data + r * out_row);
    }
  });
}

}  // namespace gorgon
