#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "model/accepted_length.h"
#include "model/draft_tree.h"

namespace gorgon {

// The reference implementation's greedy tree: starts from [0] and adds, `paths` - 1 times, the neighbour with
// the largest product of marginals[k][rank]. Neighbours are, for each path in order of acceptance, its next
// sibling and then its first child; a later one must be strictly better. Stops early where no neighbour has
// a product above 0.
DraftTree greedy_tree(const std::vector<std::vector<double>>& marginals, int64_t paths);

// What one decoding step costs on a device.
struct StepCosts {
  // (nodes, seconds) of a verification step without heads, ascending from nodes 1; in between linear, beyond
  // the last one along the last piece.
  std::vector<std::pair<int64_t, double>> verify;
  std::vector<double> heads;  // [K] seconds of head k on one state

  double seconds(int64_t nodes, int depth) const;  // a tree of `depth` runs heads 1..depth
};

struct TreeChoice {
  DraftTree tree;
  double accept_length = 1;  // tau of the walk over the given continuations
  double seconds = 0;        // of a step
};

// The tree with the most tokens per second over the walk. For each depth, nodes are taken by how often their
// whole path is right (the joint histogram of ranks, so that a child never comes before its parent) and
// every size up to max_nodes is weighed with its cost. Which positions count depends on the tree, since a
// walk skips what it accepts: the histogram starts over all positions and is taken again over those that the
// chosen tree's walk visits. A tree of one node is a possible answer.
TreeChoice best_tree(const std::vector<Continuation>& continuations, int heads, const StepCosts& costs,
                     int64_t max_nodes);

}  // namespace gorgon
