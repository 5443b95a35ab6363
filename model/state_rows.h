#pragma once

#include "kernels/tensor.h"

namespace gorgon {

constexpr int32_t kIgnoreIndex = -100;

// The one table between the frozen backbone and the trained heads: P supervised rows over Q states, K heads.
// States lie where the heads are trained, what is said of the rows in host memory.
struct StateRows {
  Tensor hidden;   // T[Q, H], T = bf16 or f32, states after the final norm in document order
  Tensor row;      // i32[P] the state each row reads
  Tensor targets;  // i32[P, K] token t+1+k, or -100
  Tensor id;       // i64[P] flat token index in dataset.h5

  int64_t states() const { return hidden.empty() ? 0 : hidden.shape()[0]; }
  int64_t rows() const { return row.empty() ? 0 : row.shape()[0]; }
};

}  // namespace gorgon
