#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gorgon {

// Where a node of a draft tree stands: the rank its token has in the distribution of head 1, of head 2, ...
// down to the node's own depth. {0} is the first choice of head 1, {0, 2} the third choice of head 2 behind
// it.
using RankPath = std::vector<int32_t>;

// The tree a decoder verifies in one step: rank paths, closed under prefixes, sorted by (length,
// lexicographic). The root, the backbone's own next token, is not listed; no paths at all is a legal tree.
struct DraftTree {
  std::vector<RankPath> paths;

  int64_t nodes() const { return static_cast<int64_t>(paths.size()) + 1; }
  int depth() const { return paths.empty() ? 0 : static_cast<int>(paths.back().size()); }  // heads it reads
  int ranks() const;  // largest rank + 1; 0 without paths
  friend bool operator==(const DraftTree&, const DraftTree&) = default;
};

constexpr int64_t kMaxTreeNodes = 1024;  // root included
constexpr int32_t kMaxTreeRanks = 64;    // candidates of one head that a tree may name

// What keeps these paths from being a tree, in one phrase ("path [1,0] without its prefix [1]"); "" when
// nothing does. Order does not matter.
std::string tree_problem(const std::vector<RankPath>& paths);
// Sorts the paths. Throws Error(internal) where there is a tree_problem.
DraftTree make_draft_tree(std::vector<RankPath> paths);
DraftTree chain_tree(int depth);  // [0], [0,0], ...: every head's first choice

std::string to_string(const RankPath& path);  // "[1,0]"

// What a decoder reads beside the tokens of a tree of n nodes, node 0 the root, parents before children.
struct TreeBuffers {
  std::vector<int32_t> parent;  // [n], -1 for the root
  std::vector<int32_t> depth;   // [n], 0 for the root; position = length of the prefix + depth
  int64_t mask_words = 0;       // ceil(n / 64)
  // [n, mask_words]: bit j of row i is set iff j is the root, i itself or an ancestor of i
  // (AttentionSequence::tree).
  std::vector<uint64_t> mask;
  // Root-to-leaf rows of node numbers, the rows of later leaves first, padded with -1 to the deepest row.
  std::vector<std::vector<int32_t>> retrieve;

  int64_t nodes() const { return static_cast<int64_t>(parent.size()); }
  bool sees(int64_t i, int64_t j) const {
    return (mask[static_cast<size_t>(i * mask_words + j / 64)] >> (j % 64) & 1) != 0;
  }
};
TreeBuffers tree_buffers(std::vector<int32_t> parent);
std::vector<int32_t> tree_parents(const DraftTree& tree);  // [n]

// Where each node's token lies in a list of candidates that starts with the root's token and goes on with
// `topk` tokens of each head: root 0, otherwise last rank + topk * (depth - 1) + 1.
std::vector<int32_t> tree_index(const DraftTree& tree, int32_t topk);

}  // namespace gorgon
