#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/tensor.h"

namespace gorgon::bench {

// A tensor of numbers in [-scale, scale) without a pattern, the same in every run: kernels that look at their
// numbers (searches, exponents) see ordinary ones.
inline Tensor numbers(DType type, Shape shape, float scale, uint32_t seed = 1) {
  Tensor tensor(type, shape);
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    seed = seed * 1664525u + 1013904223u;
    const float value = scale * (static_cast<float>(seed >> 8) / 8388608.0f - 1.0f);
    if (type == DType::f32) {
      tensor.as<float>()[i] = value;
    } else {
      tensor.as<bf16>()[i] = bf16(value);
    }
  }
  return tensor;
}

// Integers in [0, below), likewise.
inline Tensor integers(int64_t count, uint32_t below, uint32_t seed = 1) {
  Tensor tensor(DType::i32, {count});
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    tensor.as<int32_t>()[i] = static_cast<int32_t>((seed >> 8) % below);
  }
  return tensor;
}

}  // namespace gorgon::bench
