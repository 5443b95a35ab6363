#pragma once

#include "kernels/cuda/attention_launch.h"
#include "kernels/cuda/device.h"

namespace gorgon::cuda {

// Which keys a new token sees.
struct Sight {
  int64_t begin, end;    // of the keys it may see; a tree hides some of the new ones
  const uint64_t* tree;  // all rows, or nullptr
  const uint64_t* row;   // its own
  int depth;             // in the tree
};

__device__ __forceinline__ int count_bits(const uint64_t* row, int words) {
  int bits = 0;
  for (int w = 0; w < words; ++w) bits += __popcll(row[w]);
  return bits;
}

__device__ __forceinline__ Sight sight_of(const AttentionBatch& batch, const SequenceOnDevice& s,
                                          int64_t token, int64_t window) {
  const uint64_t* tree = s.tree_at >= 0 ? batch.tree + s.tree_at : s.tree;
  Sight sight{0, s.past + token + 1, tree, nullptr, 0};
  int64_t place = s.past + token;
  if (tree != nullptr) {
    sight.row = tree + token * s.words;
    sight.depth = count_bits(sight.row, s.words) - 1;
    sight.end = static_cast<int64_t>(s.past) + s.tokens;
    place = s.past + sight.depth;
  }
  if (window > 0 && place + 1 > window) sight.begin = place + 1 - window;
  // Nodes of a tree are hidden one by one.
  if (tree != nullptr && sight.begin > s.past) sight.begin = s.past;
  return sight;
}

// The window counts along the path in a tree.
__device__ __forceinline__ bool sees(const Sight& sight, const SequenceOnDevice& s, int64_t key,
                                     int64_t window) {
  if (key < sight.begin || key >= sight.end) return false;
  if (sight.tree == nullptr || key < s.past) return true;
  const int64_t node = key - s.past;
  if ((sight.row[node / 64] >> (node % 64) & 1u) == 0) return false;
  return window == 0 || sight.depth - (count_bits(sight.tree + node * s.words, s.words) - 1) < window;
}

}  // namespace gorgon::cuda
