#pragma once

#include "kernels/weight_matrix.h"

namespace gorgon {

// Blocks of 32 columns in the order in which a CPU multiplies them: 16 rows side by side, so that a vector
// holds the same columns of many rows and no sum runs across its lanes. The bytes are those of the blocks,
// moved:
//   panel of 16 rows (the last one filled up with zeros):
//     headers [groups][16]: what stands before the quants of a block, 2 bytes (Q4_0, Q8_0) or 4 (Q4_1);
//     filled up
//       to 64 bytes
//     words   [groups][4 or 8][16] u32: four bytes of quants at a time
constexpr int64_t kPanelRows = 16;

struct PanelShape {
  int64_t groups;        // blocks of a row
  int64_t header_bytes;  // of one block
  int64_t words;         // of one block
  int64_t words_at;      // byte of a panel where its words begin
  int64_t bytes;         // of a panel
};

bool has_panels(DType type);  // Q4_0, Q4_1, Q8_0
// Whether the storage of a matrix of blocks is u8[panels, bytes of a panel]; in rows it is u8[bytes].
bool in_panels(const WeightMatrix& weight);
PanelShape panel_shape(DType type, int64_t columns);

// The same matrix with its rows in panels; host memory. Throws Error(internal) for another type or layout.
WeightMatrix to_panels(const WeightMatrix& weight, const Stream& stream);

// A matrix of the CPU, f32 or bf16 [rows, columns], columns a multiple of 32, as panels of Q8_0: the largest
// of 32 becomes 127, the rest the nearest (halves away from zero); scales are rounded to f16 afterwards, as
// GGUF's own writers do.
WeightMatrix quantise_to_panels(ConstView values, const Stream& stream);

// Row `row` of a matrix in panels as blocks again.
void blocks_of_row(const WeightMatrix& weight, int64_t row, std::byte* blocks);

}  // namespace gorgon
