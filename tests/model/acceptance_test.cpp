#include "model/acceptance.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/model/random_trees.h"

namespace gorgon {
namespace {

TEST(Acceptance, LongestRowWinsAndPaddingNever) {
  // [0],[1],[0,0],[0,1],[1,0],[0,0,0]
  const TreeBuffers tree = tree_buffers({-1, 0, 0, 1, 1, 2, 3});
  const std::vector<int32_t> tokens = {5, 10, 11, 20, 21, 20, 30};
  EXPECT_EQ(accept_greedy(tree, tokens, std::vector<int32_t>{11, 0, 20, 0, 0, 9, 0}),
            (std::vector<int32_t>{0, 2, 5}));
  EXPECT_EQ(accept_greedy(tree, tokens, std::vector<int32_t>{99, 0, 20, 0, 0, 9, 0}),
            (std::vector<int32_t>{0}));
  EXPECT_EQ(accept_greedy(tree, tokens, std::vector<int32_t>{10, 20, 0, 30, 0, 0, 1}),
            (std::vector<int32_t>{0, 1, 3, 6}));
}

// Every choice equals every token, so that a row's padding, read through index -1, would fit too.
TEST(Acceptance, RowsOfEqualTokensStopAtTheirEnd) {
  RandomTrees random(4);
  for (int trial = 0; trial < 40; ++trial) {
    const DraftTree draft = random.tree(1 + trial);
    const TreeBuffers tree = tree_buffers(tree_parents(draft));
    const std::vector<int32_t> same(static_cast<size_t>(tree.nodes()), 7);
    const auto nodes = accept_greedy(tree, same, same);
    ASSERT_EQ(static_cast<int>(nodes.size()), draft.depth() + 1);
    for (size_t i = 1; i < nodes.size(); ++i)
      ASSERT_EQ(tree.parent[static_cast<size_t>(nodes[i])], nodes[i - 1]);
  }
}

// Walking down from the root by equality finds the same nodes where siblings differ.
TEST(Acceptance, EqualsAWalkFromTheRoot) {
  RandomTrees random(8);
  for (int trial = 0; trial < 200; ++trial) {
    const DraftTree draft = random.tree(20, 4, 3);
    const TreeBuffers tree = tree_buffers(tree_parents(draft));
    std::vector<int32_t> tokens = {0}, choices;
    for (const RankPath& path : draft.paths) tokens.push_back(path.back());
    for (size_t i = 0; i < tokens.size(); ++i) choices.push_back(random.below(3));
    std::vector<int32_t> expected = {0};
    for (bool found = true; found;) {
      found = false;
      for (size_t i = 1; i < tokens.size() && !found; ++i) {
        const int32_t parent = expected.back();
        found = tree.parent[i] == parent && tokens[i] == choices[static_cast<size_t>(parent)];
        if (found) expected.push_back(static_cast<int32_t>(i));
      }
    }
    ASSERT_EQ(accept_greedy(tree, tokens, choices), expected);
  }
}

std::vector<float> random_logits(RandomTrees& random, size_t count) {
  std::vector<float> logits;
  for (size_t i = 0; i < count; ++i) logits.push_back(static_cast<float>(8 * random.uniform() - 4));
  return logits;
}

TEST(Acceptance, TypicalAtColdTemperatureEqualsGreedy) {
  RandomTrees random(12);
  const size_t vocabulary = 6;
  int accepted = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const TreeBuffers tree = tree_buffers(tree_parents(random.tree(15, 4, 6)));
    const auto n = static_cast<size_t>(tree.nodes());
    const std::vector<float> logits = random_logits(random, n * vocabulary);
    std::vector<int32_t> tokens, choices;
    for (size_t i = 0; i < n; ++i) {
      tokens.push_back(random.below(6));
      choices.push_back(argmax(std::span(logits).subspan(i * vocabulary, vocabulary)));
    }
    const auto greedy = accept_greedy(tree, tokens, choices);
    const auto typical = accept_typical(tree, tokens, logits, {1e-6});
    // Equal siblings may be accepted through another row: the tokens count.
    ASSERT_EQ(typical.size(), greedy.size());
    for (size_t i = 1; i < greedy.size(); ++i) {
      ASSERT_EQ(tokens[static_cast<size_t>(typical[i])], tokens[static_cast<size_t>(greedy[i])]);
    }
    accepted += static_cast<int>(greedy.size()) - 1;
  }
  EXPECT_GT(accepted, 100);
}

// The rule written out for one parent and its children.
TEST(Acceptance, TypicalThresholdAndTies) {
  const std::vector<float> root = {0.0f, 1.0f, 2.0f, -9.0f};
  double sum = 0, entropy = 0;
  for (const float z : root) sum += std::exp(z / 0.7);
  for (const float z : root) entropy -= std::exp(z / 0.7) / sum * (z / 0.7 - std::log(sum));
  const double threshold = std::min(0.09, 0.3 * std::exp(-entropy));
  std::vector<float> logits = root;
  for (int child = 0; child < 4; ++child) logits.insert(logits.end(), root.begin(), root.end());
  for (int32_t token = 0; token < 4; ++token) {
    const std::vector<int32_t> tokens = {0, token};
    const auto nodes = accept_typical(tree_buffers({-1, 0}), tokens, std::span(logits).first(8), {0.7});
    EXPECT_EQ(nodes.size(), std::exp(root[static_cast<size_t>(token)] / 0.7) / sum > threshold ? 2u : 1u)
        << token;
  }
  // Of two accepted children of equal depth the more probable one.
  EXPECT_EQ(accept_typical(tree_buffers({-1, 0, 0, 0}), std::vector<int32_t>{0, 1, 2, 3},
                           std::span(logits).first(16), {0.7}),
            (std::vector<int32_t>{0, 2}));
}

TEST(Acceptance, TopTwoEqualsSorting) {
  RandomTrees random(21);
  for (const size_t n : {1u, 2u, 15u, 16u, 255u, 256u, 257u, 1000u}) {
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<float> values;
      // Few distinct values, so that the lowest id among equals is asked for.
      for (size_t i = 0; i < n; ++i) values.push_back(static_cast<float>(random.below(40)) - 50);
      std::vector<std::pair<float, int32_t>> sorted;
      for (size_t i = 0; i < n; ++i) sorted.emplace_back(-values[i], static_cast<int32_t>(i));
      std::sort(sorted.begin(), sorted.end());
      const TopTwo top = top_two(values);
      ASSERT_EQ(top.id, sorted[0].second);
      ASSERT_EQ(top.top, -sorted[0].first);
      if (n > 1) {
        ASSERT_EQ(top.second, -sorted[1].first);
      }
    }
  }
}

TEST(Acceptance, SamplesFollowTheDistribution) {
  const std::vector<float> logits = {1.0f, 3.0f, 3.0f, 0.0f};
  EXPECT_EQ(argmax(logits), 1);  // the lowest id of equals
  EXPECT_EQ(sample(logits, 0, 1, 0.99), 1);
  std::vector<double> share(4, 0.0);
  const int draws = 20000;
  for (int i = 0; i < draws; ++i) {
    share[static_cast<size_t>(sample(logits, 2.0, 1, draw_uniform(3, 0, static_cast<uint64_t>(i))))] +=
        1.0 / draws;
  }
  double sum = 0;
  for (const float z : logits) sum += std::exp(z / 2.0);
  // Four standard deviations of a share of 20,000 draws: 4 * sqrt(0.25 / 20000) = 0.014.
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(share[i], std::exp(logits[i] / 2.0) / sum, 0.014);
  // Half of the probability lies on two tokens: the tail is never drawn.
  for (int i = 0; i < 200; ++i) {
    const int32_t id = sample(logits, 2.0, 0.5, i / 200.0);
    EXPECT_TRUE(id == 1 || id == 2);
  }
}

}  // namespace
}  // namespace gorgon
