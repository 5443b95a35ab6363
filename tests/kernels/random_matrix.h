#pragma once

#include <random>

#include "kernels/tensor.h"

namespace gorgon {

// [rows, columns] of f32 or bf16, drawn from a normal distribution of mean 0 and standard deviation `scale`.
inline Tensor random_matrix(DType type, int64_t rows, int64_t columns, unsigned seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  Tensor matrix(type, {rows, columns});
  for (int64_t i = 0; i < matrix.elements(); ++i) {
    if (type == DType::f32) {
      matrix.as<float>()[i] = normal(random);
    } else {
      matrix.as<bf16>()[i] = bf16(normal(random));
    }
  }
  return matrix;
}

}  // namespace gorgon
