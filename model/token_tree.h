#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/draft_tree.h"

namespace gorgon {

// Tokens in a tree, parents before children, node 0 the root: what one verification step runs.
struct TokenTree {
  std::vector<int32_t> tokens;  // [n]
  std::vector<int32_t> parent;  // [n], -1 for the root

  explicit TokenTree(int32_t root) : tokens{root}, parent{-1} {}
  int64_t nodes() const { return static_cast<int64_t>(tokens.size()); }

  // Adds the paths of `tree` up to `max_depth`; candidates[d][r] is the token of rank r of head d + 1.
  void add_tree(const DraftTree& tree, const std::vector<std::vector<int32_t>>& candidates, int max_depth);
  // Adds the tokens that follow the root one after the other, along nodes that are there already.
  void add_path(std::span<const int32_t> path);
};

}  // namespace gorgon
