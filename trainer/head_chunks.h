#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"
#include "model/medusa_heads.h"
#include "model/state_rows.h"

namespace gorgon {

constexpr int64_t kRowMultiple = 64;  // of a chunk: few shapes of products, whatever the number of rows

// The rows of one head that have a target it knows, on the host; labels are columns of its outputs.
struct HeadRows {
  std::vector<int32_t> row, label;
  int64_t outside = 0;  // rows whose target it does not know
  int64_t count() const { return static_cast<int64_t>(row.size()); }
};

// Throws Error(internal) for a target outside the vocabulary.
std::vector<HeadRows> rows_of_heads(const StateRows& rows, const MedusaHeads& model);

// One chunk: `count` rows, then padding that repeats the first row without a target.
struct Chunk {
  int64_t count;
  std::vector<int32_t> row, label;
  std::vector<float> scale;
  int64_t padded() const { return static_cast<int64_t>(row.size()); }
};

// As equal as kRowMultiple allows, of at most chunk_rows rows; every row with a target has scale row_scale.
std::vector<Chunk> chunks_of(const HeadRows& rows, int64_t chunk_rows, float row_scale);

// The chunk at work, on the device.
class ChunkOnDevice {
 public:
  ChunkOnDevice(int64_t rows, Device device)
      : row_(DType::i32, {rows}, device),
        label_(DType::i32, {rows}, device),
        scale_(DType::f32, {rows}, device) {}

  void set(const Chunk& chunk, const Stream& stream);
  ConstView row() const { return row_.view().rows(0, rows_); }
  ConstView label() const { return label_.view().rows(0, rows_); }
  ConstView scale() const { return scale_.view().rows(0, rows_); }

 private:
  Tensor row_, label_, scale_;
  int64_t rows_ = 0;
};

}  // namespace gorgon
