#include "model/tree_construction.h"

#include <map>

#include <gtest/gtest.h>

#include "tests/model/random_trees.h"

namespace gorgon {
namespace {

// A second implementation of the greedy construction, from its description alone: every path of the table
// with its value, and for each accepted path its sibling and child looked up by key.
std::vector<RankPath> second_greedy(const std::vector<std::vector<double>>& table, size_t wanted) {
  std::map<RankPath, double> open_values;
  std::vector<RankPath> order = {{0}};
  while (order.size() < wanted) {
    std::vector<std::pair<double, RankPath>> seen;
    for (const RankPath& path : order) {
      std::vector<RankPath> neighbours;
      if (static_cast<size_t>(path.back()) + 1 < table[path.size() - 1].size()) {
        neighbours.push_back(path);
        neighbours.back().back() += 1;
      }
      if (path.size() < table.size()) {
        neighbours.push_back(path);
        neighbours.back().push_back(0);
      }
      for (const RankPath& neighbour : neighbours) {
        if (std::find(order.begin(), order.end(), neighbour) != order.end()) continue;
        double value = table[0][static_cast<size_t>(neighbour[0])];
        for (size_t d = 1; d < neighbour.size(); ++d) value *= table[d][static_cast<size_t>(neighbour[d])];
        seen.emplace_back(value, neighbour);
      }
    }
    // The first of the largest.
    size_t best = seen.size();
    for (size_t i = 0; i < seen.size(); ++i) {
      if (seen[i].first > (best == seen.size() ? 0.0 : seen[best].first)) best = i;
    }
    if (best == seen.size()) break;
    order.push_back(seen[best].second);
  }
  return order;
}

TEST(GreedyTree, EqualsASecondImplementationOnRandomTables) {
  RandomTrees random(11);
  for (int trial = 0; trial < 200; ++trial) {
    const int heads = 1 + random.below(5), ranks = 1 + random.below(10);
    std::vector<std::vector<double>> table(static_cast<size_t>(heads));
    for (auto& row : table) {
      for (int r = 0; r < ranks; ++r) {
        // Every third table has few distinct values and zeros, so that ties and the end are met.
        row.push_back(trial % 3 == 0 ? 0.25 * random.below(4) : random.uniform());
      }
    }
    const int64_t paths = 1 + random.below(63);
    const auto expected = second_greedy(table, static_cast<size_t>(paths));
    ASSERT_EQ(greedy_tree(table, paths), make_draft_tree(expected)) << "table " << trial;
  }
}

TEST(GreedyTree, TakesTheLargestProducts) {
  EXPECT_EQ(greedy_tree({{0.6, 0.2}, {0.5, 0.1}}, 3), make_draft_tree({{0}, {0, 0}, {1}}));
  EXPECT_EQ(greedy_tree({{0.6}}, 5), make_draft_tree({{0}}));
  EXPECT_EQ(greedy_tree({{0.6}}, 0).nodes(), 1);
}

Continuation random_continuation(RandomTrees& random, int heads, int length) {
  Continuation c;
  for (int i = 0; i < length; ++i) {
    c.tokens.push_back(random.below(100));
    // Ranks of one position hang together, as those of real heads do.
    const int shift = random.below(3);
    for (int k = 1; k <= heads; ++k) {
      c.ranks.push_back(i + k < length ? std::max(0, shift + random.below(3) - 1) : -1);
    }
  }
  return c;
}

TEST(BestTree, OneNodeWhereVerificationCostsTooMuch) {
  RandomTrees random(3);
  const std::vector<Continuation> data = {random_continuation(random, 2, 50)};
  const TreeChoice choice = best_tree(data, 2, {{{1, 1.0}, {2, 9.0}}, {0.1, 0.1}}, 16);
  EXPECT_EQ(choice.tree.nodes(), 1);
  EXPECT_DOUBLE_EQ(choice.accept_length, 1);
  EXPECT_DOUBLE_EQ(choice.seconds, 1.0);
}

TEST(BestTree, BeatsTheGreedyTreesItCouldHaveChosen) {
  RandomTrees random(5);
  const int heads = 3;
  std::vector<Continuation> data;
  for (int i = 0; i < 40; ++i) data.push_back(random_continuation(random, heads, 60));
  const StepCosts costs = {{{1, 1.0}, {16, 1.3}, {64, 2.5}}, {0.02, 0.02, 0.02}};
  const TreeChoice choice = best_tree(data, heads, costs, 64);
  EXPECT_GT(choice.tree.nodes(), 1);
  const auto tau = [&](const DraftTree& tree) {
    const TreeMatcher matcher(tree);
    std::vector<WalkCounts> counts;
    for (const Continuation& c : data) counts.push_back(count_walk(simulate_walk(c, matcher, heads)));
    return accept_length(counts);
  };
  EXPECT_DOUBLE_EQ(choice.accept_length, tau(choice.tree));
  EXPECT_DOUBLE_EQ(choice.seconds, costs.seconds(choice.tree.nodes(), choice.tree.depth()));
  const auto marginals = marginal_accuracies(data, heads, 10);
  for (const int64_t paths : {1, 3, 8, 20, 40, 63}) {
    const DraftTree other = greedy_tree(marginals, paths);
    EXPECT_GE(choice.accept_length / choice.seconds,
              0.98 * tau(other) / costs.seconds(other.nodes(), other.depth()))
        << paths;
  }
}

TEST(StepCosts, InterpolatesAndAddsHeads) {
  const StepCosts costs = {{{1, 1.0}, {3, 2.0}, {5, 2.5}}, {0.5, 0.25}};
  EXPECT_DOUBLE_EQ(costs.seconds(1, 0), 1.0);
  EXPECT_DOUBLE_EQ(costs.seconds(2, 1), 2.0);
  EXPECT_DOUBLE_EQ(costs.seconds(7, 2), 3.75);
}

}  // namespace
}  // namespace gorgon
