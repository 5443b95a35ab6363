#pragma once

#include <cstdint>

// Inside of the CPU backend of block_linear().
namespace gorgon::cpu {

// Rows of x as the kernels read them, in strips of up to 8 rows, row next to row.
//   f32: values [strip][columns][rows].
//   integers: words [strip][groups][16][rows], scales [strip][groups][rows]; x = scale * q. sums
//   [strip][groups][1 or 2][rows], one for each scale of the weight's group: of the values that go with it.
//   The words of a group are 16 pairs of i16 or (VNNI) 8 quads of i8 and 8 more: q = 256 * first + second.
struct PackedRows {
  const float* values;
  const uint32_t* words;
  const float *scales, *sums;
};
struct PackedRowsOut {
  float* values;
  uint32_t* words;
  float *scales, *sums;
};

}  // namespace gorgon::cpu
