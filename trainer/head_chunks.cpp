#include "trainer/head_chunks.h"

#include <algorithm>

#include "kernels/error.h"
#include "kernels/transfer.h"

namespace gorgon {

namespace {

std::vector<int32_t> on_host(const Tensor& tensor) {
  std::vector<int32_t> values(static_cast<size_t>(tensor.elements()));
  copy_bytes({}, values.data(), tensor.device(), tensor.data(), tensor.bytes());
  return values;
}

}  // namespace

std::vector<HeadRows> rows_of_heads(const StateRows& rows, const MedusaHeads& model) {
  const int num_heads = model.options.num_heads;
  std::vector<HeadRows> heads(model.heads.size());
  if (rows.rows() == 0) return heads;
  require(rows.targets.shape() == Shape({rows.rows(), num_heads}), "HeadTrainer", "targets are not [P, K]");
  const std::vector<int32_t> row = on_host(rows.row), targets = on_host(rows.targets);
  for (size_t i = 0; i < row.size(); ++i) {
    for (size_t k = 0; k < heads.size(); ++k) {
      const int32_t label = targets[i * heads.size() + k];
      if (label == kIgnoreIndex) continue;
      const int32_t column = column_of(model.vocab_ids, label);
      if (column < 0 && label >= 0) {
        ++heads[k].outside;
        continue;
      }
      require(column >= 0 && column < model.outputs(), "HeadTrainer", "a target outside the vocabulary");
      heads[k].row.push_back(row[i]);
      heads[k].label.push_back(column);
    }
  }
  return heads;
}

std::vector<Chunk> chunks_of(const HeadRows& rows, int64_t chunk_rows, float row_scale) {
  std::vector<Chunk> chunks;
  const int64_t total = rows.count(), pieces = (total + chunk_rows - 1) / chunk_rows;
  if (total == 0) return chunks;
  const int64_t equal = (total + pieces - 1) / pieces;
  const int64_t size = (equal + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
  for (int64_t begin = 0; begin < total; begin += size) {
    const int64_t count = std::min(size, total - begin);
    const auto first = rows.row.begin() + begin;
    const auto first_label = rows.label.begin() + begin;
    Chunk chunk{count, {first, first + count}, {first_label, first_label + count}, {}};
    const auto padded = static_cast<size_t>((count + kRowMultiple - 1) / kRowMultiple * kRowMultiple);
    chunk.row.resize(padded, *first);
    chunk.label.resize(padded, kIgnoreIndex);
    chunk.scale.resize(static_cast<size_t>(count), row_scale);
    chunk.scale.resize(padded, 0.0f);
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

void ChunkOnDevice::set(const Chunk& chunk, const Stream& stream) {
  rows_ = chunk.padded();
  upload(chunk.row, row_.view().rows(0, rows_), stream);
  upload(chunk.label, label_.view().rows(0, rows_), stream);
  upload(chunk.scale, scale_.view().rows(0, rows_), stream);
}

}  // namespace gorgon
