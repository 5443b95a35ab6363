#include "model/tree_construction.h"

#include <algorithm>
#include <map>
#include <set>

#include "kernels/error.h"

namespace gorgon {

namespace {

constexpr int32_t kRanks = 10;  // candidates of a head that a tree may use; later ones are hardly ever right
constexpr int kRounds = 4;      // of histogram and walk; the choice settles in two or three

double product(const std::vector<std::vector<double>>& marginals, const RankPath& path) {
  double value = 1;
  for (size_t k = 0; k < path.size(); ++k) {
    if (k >= marginals.size() || path[k] >= static_cast<int32_t>(marginals[k].size())) return 0;
    value *= marginals[k][static_cast<size_t>(path[k])];
  }
  return value;
}

// How often each path is right as a whole, over the positions that `visited` marks.
using Histogram = std::map<RankPath, int64_t>;
Histogram joint_histogram(const std::vector<Continuation>& continuations, int heads,
                          const std::vector<std::vector<bool>>& visited) {
  Histogram histogram;
  for (size_t c = 0; c < continuations.size(); ++c) {
    for (int64_t i = 0; i < continuations[c].length(); ++i) {
      if (!visited[c][static_cast<size_t>(i)]) continue;
      RankPath path;
      for (const int32_t rank : continuations[c].ranks_at(i, heads)) {
        if (rank < 0 || rank >= kRanks) break;
        path.push_back(rank);
        ++histogram[path];
      }
    }
  }
  return histogram;
}

double walk_accept_length(const std::vector<Continuation>& continuations, int heads, const DraftTree& tree) {
  const TreeMatcher matcher(tree);
  std::vector<WalkCounts> counts;
  for (const Continuation& c : continuations) counts.push_back(count_walk(simulate_walk(c, matcher, heads)));
  return std::max(1.0, accept_length(counts));
}

std::vector<std::vector<bool>> visited_positions(const std::vector<Continuation>& continuations, int heads,
                                                 const DraftTree& tree) {
  const TreeMatcher matcher(tree);
  std::vector<std::vector<bool>> visited;
  for (const Continuation& c : continuations) {
    visited.emplace_back(c.tokens.size(), false);
    int64_t i = 0;
    for (const int32_t emitted : simulate_walk(c, matcher, heads)) {
      visited.back()[static_cast<size_t>(i)] = true;
      i += emitted;
    }
  }
  return visited;
}

// The paths up to `depth`, most frequent first; of equals the shorter, then the lexicographically first, so
// that every prefix of the list is closed.
std::vector<std::pair<RankPath, int64_t>> by_frequency(const Histogram& histogram, int depth) {
  std::vector<std::pair<RankPath, int64_t>> paths;
  for (const auto& [path, count] : histogram) {
    if (static_cast<int>(path.size()) <= depth) paths.emplace_back(path, count);
  }
  std::sort(paths.begin(), paths.end(), [](const auto& a, const auto& b) {
    if (a.second != b.second) return a.second > b.second;
    return a.first.size() != b.first.size() ? a.first.size() < b.first.size() : a.first < b.first;
  });
  return paths;
}

// The tree with the best estimate of tokens per second when steps start at `positions` positions.
DraftTree best_by_histogram(const Histogram& histogram, int64_t positions, int heads, const StepCosts& costs,
                            int64_t max_nodes) {
  std::vector<RankPath> best;
  double best_speed = 1 / costs.seconds(1, 0);
  for (int depth = 1; depth <= heads; ++depth) {
    const auto paths = by_frequency(histogram, depth);
    double tokens = 1;
    std::vector<RankPath> taken;
    for (const auto& [path, count] : paths) {
      if (static_cast<int64_t>(taken.size()) + 1 >= max_nodes) break;
      taken.push_back(path);
      tokens += static_cast<double>(count) / static_cast<double>(positions);
      const double speed = tokens / costs.seconds(static_cast<int64_t>(taken.size()) + 1, depth);
      if (speed > best_speed) {
        best_speed = speed;
        best = taken;
      }
    }
  }
  return make_draft_tree(best);
}

}  // namespace

DraftTree greedy_tree(const std::vector<std::vector<double>>& marginals, int64_t paths) {
  std::vector<RankPath> accepted;
  std::set<RankPath> known;
  const auto accept = [&](const RankPath& path) {
    accepted.push_back(path);
    known.insert(path);
  };
  if (paths > 0) accept({0});
  while (static_cast<int64_t>(accepted.size()) < paths) {
    RankPath best;
    double best_value = 0;
    const auto consider = [&](const RankPath& path) {
      const double value = known.contains(path) ? 0 : product(marginals, path);
      if (value > best_value) {
        best_value = value;
        best = path;
      }
    };
    for (const RankPath& path : accepted) {
      RankPath sibling = path, child = path;
      ++sibling.back();
      child.push_back(0);
      consider(sibling);
      consider(child);
    }
    if (best.empty()) break;
    accept(best);
  }
  return make_draft_tree(accepted);
}

double StepCosts::seconds(int64_t nodes, int depth) const {
  require(!verify.empty() && depth <= static_cast<int>(heads.size()), "StepCosts", "measured costs");
  double total = verify[0].second;
  if (verify.size() > 1) {
    size_t i = 1;
    while (i + 1 < verify.size() && verify[i].first < nodes) ++i;
    const auto& [n0, s0] = verify[i - 1];
    const auto& [n1, s1] = verify[i];
    total = s0 + (s1 - s0) * static_cast<double>(nodes - n0) / static_cast<double>(n1 - n0);
  }
  for (int k = 0; k < depth; ++k) total += heads[static_cast<size_t>(k)];
  return total;
}

TreeChoice best_tree(const std::vector<Continuation>& continuations, int heads, const StepCosts& costs,
                     int64_t max_nodes) {
  TreeChoice best{chain_tree(0), 1, costs.seconds(1, 0)};
  auto visited = visited_positions(continuations, heads, best.tree);  // all of them
  for (int round = 0; round < kRounds; ++round) {
    int64_t positions = 0;
    for (const auto& v : visited) positions += std::count(v.begin(), v.end(), true);
    if (positions == 0) break;
    const DraftTree tree =
        best_by_histogram(joint_histogram(continuations, heads, visited), positions, heads, costs, max_nodes);
    const double tau = walk_accept_length(continuations, heads, tree);
    const double seconds = costs.seconds(tree.nodes(), tree.depth());
    if (tau / seconds > best.accept_length / best.seconds) best = {tree, tau, seconds};
    visited = visited_positions(continuations, heads, tree);
  }
  return best;
}

}  // namespace gorgon
