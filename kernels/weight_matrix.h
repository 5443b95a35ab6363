#pragma once

#include <memory>

#include "kernels/tensor.h"

namespace gorgon {

// A frozen matrix [rows, columns] as it lies in memory: a plain type or GGUF blocks along the columns
// (columns is then a multiple of the block). linear() takes it as it is. Shared, since tied embeddings use
// one matrix twice.
struct WeightMatrix {
  DType type = DType::f32;
  int64_t rows = 0;                        // outputs
  int64_t columns = 0;                     // inputs
  std::shared_ptr<const Tensor> storage;   // u8[bytes] for blocks, type[rows, columns] for plain types
  std::shared_ptr<const Tensor> scales{};  // f32[rows], of e4m3 alone: a value is its code times its row's

  bool empty() const { return storage == nullptr; }
  int64_t bytes() const { return bytes_of(type, rows * columns); }
  ConstView view() const {  // plain types only
    return BasicView<const std::byte>{storage->data(), type, {rows, columns}, storage->device(), 0};
  }
};

}  // namespace gorgon
