#pragma once

#include "data/sequences.h"
#include "model/backbone.h"
#include "model/state_rows.h"

namespace gorgon {

// Which rows a set of sequences has: host side, from labels alone. Head k (1..K) at position t targets the
// label of token t + 1 + k of the same sequence, -100 where there is none; a row exists when one of its K
// targets does. Rows are in order of position. Segments play no part: attention crosses them (packing
// wrapped), or there is one a sequence (packing none).
struct RowTable {
  std::vector<int32_t> row;      // [P] index into the sequences' flat tokens
  std::vector<int32_t> targets;  // [P, K]
  std::vector<int64_t> id;       // [P]
};
RowTable supervised_rows(const Sequences& sequences, int num_heads);

// Runs the backbone over the sequences, `micro_batch` sequences at a time, and keeps the states that rows
// read. Positions count from the start of each sequence. Empty tables where nothing is supervised.
// The second form keeps the memory of an earlier step's rows, where it is large enough.
StateRows forward_state_rows(const Backbone& backbone, const Sequences& sequences, int num_heads,
                             int64_t micro_batch, const Stream& stream);
void forward_state_rows(const Backbone& backbone, const Sequences& sequences, int num_heads,
                        int64_t micro_batch, StateRows& rows, const Stream& stream);

}  // namespace gorgon
