#include "kernels/block_panels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "kernels/error.h"
#include "kernels/k_scales.h"
#include "kernels/thread_pool.h"

namespace gorgon {

namespace {

constexpr int64_t kGroupsOfK = 8;  // in a K block

// One group of a row: what its panel holds of it.
struct Group {
  uint32_t header = 0;
  std::array<float, 2> factors{};
  std::array<uint8_t, kGroup> q{};
};

uint16_t load_u16(const std::byte* from) {
  uint16_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
uint32_t load_u32(const std::byte* from) {
  uint32_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Nibbles of a block of 32: byte j has column j in its lower half and column j + 16 in its upper half.
void read_nibbles(const uint8_t* low, Group& group) {
  for (size_t j = 0; j < 16; ++j) {
    group.q[j] = low[j] & 15;
    group.q[j + 16] = low[j] >> 4;
  }
}

// Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0; layouts as in dequantise_cpu.cpp.
Group read_small(DType type, const std::byte* block) {
  const bool has_min = type == DType::q4_1 || type == DType::q5_1;
  Group group;
  group.header = has_min ? load_u32(block) : load_u16(block);
  const std::byte* quants = block + (has_min ? 4 : 2);
  if (type == DType::q8_0) {
    for (size_t j = 0; j < kGroup; ++j) group.q[j] = static_cast<uint8_t>(quants[j]) ^ 0x80u;
    return group;
  }
  const bool five = type == DType::q5_0 || type == DType::q5_1;
  read_nibbles(reinterpret_cast<const uint8_t*>(quants + (five ? 4 : 0)), group);
  const uint32_t high = five ? load_u32(quants) : 0;
  for (size_t j = 0; j < kGroup; ++j) group.q[j] |= static_cast<uint8_t>(((high >> j) & 1u) << 4);
  return group;
}

// Group `part` of a block of Q4_K or Q5_K.
Group read_k(DType type, const std::byte* block, int64_t part) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(block);
  const auto [scale, min] = k_scale_and_min(bytes + 4, static_cast<int>(part));
  Group group;
  group.header = scale | static_cast<uint32_t>(min) << 8;
  group.factors = {f16_to_f32(load_u16(block)), f16_to_f32(load_u16(block + 2))};
  const bool five = type == DType::q5_k;
  const uint8_t* low = bytes + (five ? 48 : 16) + 32 * (part / 2);
  for (size_t j = 0; j < kGroup; ++j) {
    group.q[j] = (low[j] >> (part % 2 * 4)) & 15;
    if (five) group.q[j] |= static_cast<uint8_t>(((bytes[16 + j] >> part) & 1) << 4);
  }
  return group;
}

Group read_q6_k(const std::byte* block, int64_t part) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(block);
  const int64_t half = part / 4, quarter = part % 4;
  Group group;
  group.header = load_u16(block + 192 + 2 * part);
  group.factors = {f16_to_f32(load_u16(block + 208)), 0};
  const uint8_t* low = bytes + 64 * half + 32 * (quarter % 2);
  const uint8_t* high = bytes + 128 + 32 * half;
  for (size_t j = 0; j < kGroup; ++j) {
    group.q[j] =
        static_cast<uint8_t>(((low[j] >> (quarter / 2 * 4)) & 15) | (((high[j] >> (2 * quarter)) & 3) << 4));
  }
  return group;
}

Group read_group(DType type, const std::byte* row, int64_t g) {
  if (traits(type).block_elements == kGroup) return read_small(type, row + g * traits(type).block_bytes);
  const std::byte* block = row + g / kGroupsOfK * traits(type).block_bytes;
  return type == DType::q6_k ? read_q6_k(block, g % kGroupsOfK) : read_k(type, block, g % kGroupsOfK);
}

// Word and bit of q's lower and upper bits for a column; block_panels.h has the table.
struct QuantPlace {
  int64_t low_word, low_bit, high_word, high_bit;
};
QuantPlace quant_place(int64_t bits, int64_t column) {
  const int64_t quad = column / 4, byte = column % 4 * 8;
  if (bits == 8) return {quad, byte, 0, 0};
  const QuantPlace low{quad % 4, byte + quad / 4 * 4, 0, 0};
  if (bits == 5) return {low.low_word, low.low_bit, 4, byte + quad};
  return {low.low_word, low.low_bit, 4 + quad / 4, byte + quad % 4 * 2};
}

std::array<uint32_t, 8> pack_words(const Group& group, int64_t bits) {
  std::array<uint32_t, 8> words{};
  for (int64_t column = 0; column < kGroup; ++column) {
    const QuantPlace to = quant_place(bits, column);
    const uint32_t q = group.q[static_cast<size_t>(column)];
    words[static_cast<size_t>(to.low_word)] |= (bits == 8 ? q : q & 15u) << to.low_bit;
    if (bits == 5 || bits == 6) words[static_cast<size_t>(to.high_word)] |= (q >> 4) << to.high_bit;
  }
  return words;
}

// Where the numbers of a group lie in its panel, in bytes; `lane` is the row's place there. The next factor
// or word comes kPanelRows * 4 bytes later.
struct Place {
  int64_t header, factor, word;
};
Place place(const PanelShape& shape, int64_t group, int64_t lane) {
  return {(group * kPanelRows + lane) * shape.header_bytes,
          shape.factors_at + (group / kGroupsOfK * shape.factors * kPanelRows + lane) * 4,
          shape.words_at + (group * shape.words * kPanelRows + lane) * 4};
}

void write_group(const Group& group, const PanelShape& shape, const Place& to, std::byte* panel) {
  std::memcpy(panel + to.header, &group.header, static_cast<size_t>(shape.header_bytes));  // little-endian
  for (int64_t i = 0; i < shape.factors; ++i) {
    std::memcpy(panel + to.factor + i * kPanelRows * 4, &group.factors[static_cast<size_t>(i)], 4);
  }
  const auto words = pack_words(group, shape.bits);
  for (int64_t i = 0; i < shape.words; ++i) {
    std::memcpy(panel + to.word + i * kPanelRows * 4, &words[static_cast<size_t>(i)], 4);
  }
}

// value = scale q + min of the columns of a group, 16 at a time.
struct Scales {
  std::array<float, 2> scale, min;
};
Scales read_scales(DType type, uint32_t header, const std::array<float, 2>& factors) {
  const auto low = static_cast<uint8_t>(header), high = static_cast<uint8_t>(header >> 8);
  const float half = f16_to_f32(static_cast<uint16_t>(header));
  switch (type) {
    case DType::q4_1:
    case DType::q5_1: {
      const float min = f16_to_f32(static_cast<uint16_t>(header >> 16));
      return {{half, half}, {min, min}};
    }
    case DType::q4_k:
    case DType::q5_k: {
      const float scale = factors[0] * static_cast<float>(low), min = -factors[1] * static_cast<float>(high);
      return {{scale, scale}, {min, min}};
    }
    case DType::q6_k: {
      const float first = factors[0] * static_cast<float>(static_cast<int8_t>(low)),
                  second = factors[0] * static_cast<float>(static_cast<int8_t>(high));
      return {{first, second}, {-32 * first, -32 * second}};
    }
    default: {
      const float min = half * (type == DType::q4_0 ? -8.0f : type == DType::q5_0 ? -16.0f : -128.0f);
      return {{half, half}, {min, min}};
    }
  }
}

void write_q8_0(std::span<const float> x, std::byte* block) {
  float largest = 0;
  for (const float value : x) largest = std::max(largest, std::abs(value));
  const uint16_t scale = f32_to_f16(largest / 127);
  std::memcpy(block, &scale, sizeof scale);
  const float inverse = largest > 0 ? 127 / largest : 0.0f;
  for (size_t i = 0; i < x.size(); ++i) {
    block[2 + i] = static_cast<std::byte>(static_cast<int8_t>(std::round(x[i] * inverse)));
  }
}

}  // namespace

bool has_panels(DType type) {
  return type == DType::q4_0 || type == DType::q4_1 || type == DType::q5_0 || type == DType::q5_1 ||
         type == DType::q8_0 || type == DType::q4_k || type == DType::q5_k || type == DType::q6_k;
}

bool in_panels(const WeightMatrix& weight) {
  return has_panels(weight.type) && weight.storage->shape().rank() == 2;
}

int64_t scales_of_group(DType type) {
  return type == DType::q6_k ? 2 : 1;
}

PanelShape panel_shape(DType type, int64_t columns) {
  require(has_panels(type) && columns % traits(type).block_elements == 0, "panel_shape",
          "a type with panels, whole blocks");
  PanelShape shape{};
  shape.groups = columns / kGroup;
  shape.header_bytes = type == DType::q4_1 || type == DType::q5_1 ? 4 : 2;
  shape.factors = traits(type).block_elements == kGroup ? 0 : type == DType::q6_k ? 1 : 2;
  const bool five = type == DType::q5_0 || type == DType::q5_1 || type == DType::q5_k;
  shape.bits = type == DType::q8_0 ? 8 : type == DType::q6_k ? 6 : five ? 5 : 4;
  shape.words = shape.bits;  // 32 columns of so many bits
  shape.factors_at = (shape.groups * shape.header_bytes * kPanelRows + 63) / 64 * 64;
  shape.words_at = shape.factors_at + shape.groups / kGroupsOfK * shape.factors * kPanelRows * 4;
  shape.bytes = shape.words_at + shape.groups * shape.words * kPanelRows * 4;
  return shape;
}

WeightMatrix to_panels(const WeightMatrix& weight, const Stream& stream) {
  require(!in_panels(weight) && weight.storage->device() == Device{}, "to_panels",
          "rows of blocks in host memory");
  const PanelShape shape = panel_shape(weight.type, weight.columns);
  const int64_t panels = (weight.rows + kPanelRows - 1) / kPanelRows;
  const int64_t row_bytes = bytes_of(weight.type, weight.columns);
  Tensor moved = Tensor::zeros(DType::u8, {panels, shape.bytes});
  const std::byte* blocks = weight.storage->data();
  stream.threads().parallel_for(panels, [&](int64_t p) {
    std::byte* panel = moved.data() + p * shape.bytes;
    for (int64_t lane = 0; lane < std::min(kPanelRows, weight.rows - p * kPanelRows); ++lane) {
      const std::byte* row = blocks + (p * kPanelRows + lane) * row_bytes;
      for (int64_t g = 0; g < shape.groups; ++g) {
        write_group(read_group(weight.type, row, g), shape, place(shape, g, lane), panel);
      }
    }
  });
  WeightMatrix result = weight;
  result.storage = std::make_shared<const Tensor>(std::move(moved));
  return result;
}

WeightMatrix quantise_to_panels(ConstView values, const Stream& stream) {
  constexpr int64_t kValues = 32;
  require(values.device == Device{} && values.shape.rank() == 2 && values.columns() % kValues == 0 &&
              (values.type == DType::f32 || values.type == DType::bf16),
          "quantise_to_panels", "f32 or bf16 in host memory, whole blocks");
  const int64_t row_bytes = bytes_of(DType::q8_0, values.columns());
  Tensor stored(DType::u8, {values.rows() * row_bytes});
  stream.threads().parallel_for(values.rows(), [&](int64_t row) {
    std::vector<float> x(static_cast<size_t>(values.columns()));
    for (int64_t i = 0; i < values.columns(); ++i) {
      const int64_t at = row * values.stride() + i;
      x[static_cast<size_t>(i)] =
          values.type == DType::f32 ? values.as<float>()[at] : static_cast<float>(values.as<bf16>()[at]);
    }
    std::byte* block = stored.data() + row * row_bytes;
    for (int64_t i = 0; i < values.columns(); i += kValues, block += bytes_of(DType::q8_0, kValues)) {
      write_q8_0(std::span(x).subspan(static_cast<size_t>(i), kValues), block);
    }
  });
  return to_panels(
      {DType::q8_0, values.rows(), values.columns(), std::make_shared<const Tensor>(std::move(stored))},
      stream);
}

void read_panel_row(const WeightMatrix& weight, int64_t row, float* values) {
  const PanelShape shape = panel_shape(weight.type, weight.columns);
  const std::byte* panel = weight.storage->data() + row / kPanelRows * shape.bytes;
  for (int64_t g = 0; g < shape.groups; ++g, values += kGroup) {
    const Place from = place(shape, g, row % kPanelRows);
    uint32_t header = 0;
    std::array<float, 2> factors{};
    std::memcpy(&header, panel + from.header, static_cast<size_t>(shape.header_bytes));
    for (int64_t i = 0; i < shape.factors; ++i) {
      std::memcpy(&factors[static_cast<size_t>(i)], panel + from.factor + i * kPanelRows * 4, 4);
    }
    const Scales by = read_scales(weight.type, header, factors);
    for (int64_t column = 0; column < kGroup; ++column) {
      const QuantPlace at = quant_place(shape.bits, column);
      const auto word = [&](int64_t i) { return load_u32(panel + from.word + i * kPanelRows * 4); };
      uint32_t q = word(at.low_word) >> at.low_bit & (shape.bits == 8 ? 255u : 15u);
      if (shape.bits == 5) q |= (word(at.high_word) >> at.high_bit & 1u) << 4;
      if (shape.bits == 6) q |= (word(at.high_word) >> at.high_bit & 3u) << 4;
      const size_t part = column < 16 ? 0 : 1;
      values[column] = by.scale[part] * static_cast<float>(q) + by.min[part];
    }
  }
}

}  // namespace gorgon
