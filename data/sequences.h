#pragma once

#include <cstdint>
#include <vector>

namespace gorgon {

// Packed sequences, flat. Sequence s holds tokens [offsets[s], offsets[s+1]).
struct Sequences {
  std::vector<int32_t> tokens;    // [n]
  std::vector<int32_t> labels;    // [n] unshifted: the token itself, or -100
  std::vector<int32_t> segments;  // [n] document number within its sequence
  std::vector<int64_t> offsets;   // [sequences + 1]
  std::vector<int64_t> first_id;  // [sequences] flat token index in dataset.h5 of each sequence's first token

  int64_t count() const { return offsets.empty() ? 0 : static_cast<int64_t>(offsets.size()) - 1; }
};

}  // namespace gorgon
