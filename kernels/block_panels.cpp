#include "kernels/block_panels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "kernels/error.h"
#include "kernels/thread_pool.h"

namespace gorgon {

namespace {

// Where the parts of block `group` of a row lie in its panel; `lane` is the row's place there.
struct Place {
  int64_t header, word;  // bytes from the panel's start; the next word comes kPanelRows * 4 bytes later
};
Place place(const PanelShape& shape, int64_t group, int64_t lane) {
  return {(group * kPanelRows + lane) * shape.header_bytes,
          shape.words_at + (group * shape.words * kPanelRows + lane) * 4};
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
  return type == DType::q4_0 || type == DType::q4_1 || type == DType::q8_0;
}

bool in_panels(const WeightMatrix& weight) {
  return has_panels(weight.type) && weight.storage->shape().rank() == 2;
}

PanelShape panel_shape(DType type, int64_t columns) {
  require(has_panels(type), "panel_shape", "a type with panels");
  PanelShape shape{};
  shape.groups = columns / traits(type).block_elements;
  shape.header_bytes = type == DType::q4_1 ? 4 : 2;
  shape.words = (traits(type).block_bytes - shape.header_bytes) / 4;
  shape.words_at = (shape.groups * shape.header_bytes * kPanelRows + 63) / 64 * 64;
  shape.bytes = shape.words_at + shape.groups * shape.words * kPanelRows * 4;
  return shape;
}

WeightMatrix to_panels(const WeightMatrix& weight, const Stream& stream) {
  require(!in_panels(weight) && weight.storage->device() == Device{}, "to_panels",
          "rows of blocks in host memory");
  const PanelShape shape = panel_shape(weight.type, weight.columns);
  const int64_t panels = (weight.rows + kPanelRows - 1) / kPanelRows;
  const int64_t block_bytes = traits(weight.type).block_bytes;
  Tensor moved = Tensor::zeros(DType::u8, {panels, shape.bytes});
  const std::byte* blocks = weight.storage->data();
  stream.threads().parallel_for(panels, [&](int64_t p) {
    std::byte* panel = moved.data() + p * shape.bytes;
    for (int64_t lane = 0; lane < std::min(kPanelRows, weight.rows - p * kPanelRows); ++lane) {
      const std::byte* block = blocks + (p * kPanelRows + lane) * shape.groups * block_bytes;
      for (int64_t g = 0; g < shape.groups; ++g, block += block_bytes) {
        const Place to = place(shape, g, lane);
        std::memcpy(panel + to.header, block, static_cast<size_t>(shape.header_bytes));
        for (int64_t w = 0; w < shape.words; ++w) {
          std::memcpy(panel + to.word + w * kPanelRows * 4, block + shape.header_bytes + w * 4, 4);
        }
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

void blocks_of_row(const WeightMatrix& weight, int64_t row, std::byte* blocks) {
  const PanelShape shape = panel_shape(weight.type, weight.columns);
  const std::byte* panel = weight.storage->data() + row / kPanelRows * shape.bytes;
  for (int64_t g = 0; g < shape.groups; ++g) {
    const Place from = place(shape, g, row % kPanelRows);
    std::memcpy(blocks, panel + from.header, static_cast<size_t>(shape.header_bytes));
    blocks += shape.header_bytes;
    for (int64_t w = 0; w < shape.words; ++w, blocks += 4) {
      std::memcpy(blocks, panel + from.word + w * kPanelRows * 4, 4);
    }
  }
}

}  // namespace gorgon
