#pragma once

#include <cstdint>

// Inside of the CPU backend of block_linear().
namespace gorgon::cpu {

// Rows of x as the kernels read them, in strips of up to 8 rows, row next to row.
//   f32: values [strip][columns][rows].
//   integers: pairs [strip][groups][16][rows] of i16, scales and sums [strip][groups][rows]; x = scale * q, a
//   sum is that of a group's values.
struct PackedRows {
  const float* values;
  const uint32_t* pairs;
  const float *scales, *sums;
};
struct PackedRowsOut {
  float* values;
  uint32_t* pairs;
  float *scales, *sums;
};

}  // namespace gorgon::cpu
