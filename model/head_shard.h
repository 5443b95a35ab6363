#pragma once

#include <cstdint>
#include <vector>

#include "model/medusa_options.h"

namespace gorgon {

// Which part of every head a rank of several trains under parallel_heads: vocab. Rank r of n holds rows
// [outputs[r], outputs[r + 1]) of what has a row for every token (the Linear, its frozen rows, B of low rank)
// and rows [hidden[r], hidden[r + 1]) of every ResBlock's weight. A range may be empty. Biases and A of low
// rank are whole on every rank.
struct HeadShard {
  std::vector<int64_t> outputs;  // [n + 1], from 0 to N
  std::vector<int64_t> hidden;   // [n + 1], from 0 to H
  int rank = 0;

  int size() const { return static_cast<int>(outputs.size()) - 1; }
  int64_t first_output() const { return outputs[at()]; }
  int64_t end_output() const { return outputs[at() + 1]; }
  int64_t first_hidden() const { return hidden[at()]; }
  int64_t end_hidden() const { return hidden[at() + 1]; }

 private:
  size_t at() const { return static_cast<size_t>(rank); }
};

// Ranges as equal as they get whose tensors begin at a multiple of `block` elements of the whole tensor
// (8-bit optimizer states share a scale within blocks).
HeadShard shard_heads(const MedusaOptions& options, int64_t outputs, int64_t hidden, int64_t block, int rank,
                      int size);

// [n] what each rank has of bounds [n + 1], times `columns`.
std::vector<int64_t> counts_of(const std::vector<int64_t>& bounds, int64_t columns);

}  // namespace gorgon
