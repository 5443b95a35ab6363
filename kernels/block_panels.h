#pragma once

#include "kernels/weight_matrix.h"

namespace gorgon {

// Blocks of GGUF in the order in which a CPU multiplies them: 16 rows side by side, so that a vector holds
// the same columns of many rows and no sum runs across its lanes. A row is cut into groups of 32 columns, of
// which every value is scale * q + min with whole q >= 0; the numbers are those of the blocks, moved:
//   panel of 16 rows (the last one filled up with zeros), each part at a multiple of 64 bytes:
//     headers [groups][16], 2 or 4 bytes:
//       Q4_0, Q5_0, Q8_0  f16 d: scale = d, min = -8 d, -16 d, -128 d
//       Q4_1, Q5_1        f16 d, m: scale = d, min = m
//       Q4_K, Q5_K        u8 s, m: scale = d s, min = -dmin m
//       Q6_K              i8 s[2], of 16 columns each: scale = d s, min = -32 d s
//     factors [groups / 8][0, 1 or 2][16] f32: d, or d and dmin, of the K blocks
//     words   [groups][4, 5, 6 or 8][16] u32, byte b of
//       8 bits: word i has column 4 i + b
//       others: word i < 4 has the lower 4 bits of column 4 i + b and, above them, of 16 + 4 i + b
//       5 bits: word 4 has in bit i the fifth bit of column 4 i + b
//       6 bits: word 4 + h has in bits 2 i and 2 i + 1 the upper bits of column 16 h + 4 i + b
constexpr int64_t kPanelRows = 16;
constexpr int64_t kGroup = 32;

struct PanelShape {
  int64_t groups;        // of a row
  int64_t header_bytes;  // of one group
  int64_t factors;       // of one K block
  int64_t words;         // of one group
  int64_t bits;          // of q
  int64_t factors_at;    // byte of a panel where its factors begin
  int64_t words_at;      // byte of a panel where its words begin
  int64_t bytes;         // of a panel
};

bool has_panels(DType type);  // all blocks of GGUF
// Whether the storage of a matrix of blocks is u8[panels, bytes of a panel]; in rows it is u8[bytes].
bool in_panels(const WeightMatrix& weight);
PanelShape panel_shape(DType type, int64_t columns);
int64_t scales_of_group(DType type);  // 2 for Q6_K, otherwise 1

// The same matrix with its rows in panels; host memory. Throws Error(internal) for another type or layout.
WeightMatrix to_panels(const WeightMatrix& weight, const Stream& stream);

// A matrix of the CPU, f32 or bf16 [rows, columns], columns a multiple of 32, as panels of Q8_0: the largest
// of 32 becomes 127, the rest the nearest (halves away from zero); scales are rounded to f16 afterwards, as
// GGUF's own writers do.
WeightMatrix quantise_to_panels(ConstView values, const Stream& stream);

// Row `row` of a matrix in panels as f32[columns]: the values of dequantise(), to the bit.
void read_panel_row(const WeightMatrix& weight, int64_t row, float* values);

}  // namespace gorgon
