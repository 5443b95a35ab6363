#include "model/accepted_length.h"

#include <gtest/gtest.h>

#include "tests/model/random_trees.h"

namespace gorgon {
namespace {

// Two heads over five tokens. From 0: the root and both heads right -> 3; from 3: head 1 wrong -> 1; from 4:
// the last token -> 1.
const Continuation kExample = {{7, 8, 9, 10, 2}, {0, 0, 0, 0, 1, 0, 3, -1, -1, -1}, {}};

TEST(AcceptedLength, WalkLandsWhereItLands) {
  EXPECT_EQ(simulate_walk(kExample, TreeMatcher(chain_tree(2)), 2), (std::vector<int32_t>{3, 1, 1}));
  EXPECT_EQ(simulate_walk(kExample, TreeMatcher(chain_tree(1)), 2), (std::vector<int32_t>{2, 1, 1, 1}));
  EXPECT_EQ(simulate_walk(kExample, TreeMatcher(chain_tree(0)), 2), (std::vector<int32_t>{1, 1, 1, 1, 1}));
  EXPECT_EQ(simulate_walk(kExample, TreeMatcher(make_draft_tree({{0}, {1}, {1, 0}})), 2),
            (std::vector<int32_t>{2, 3}));
  EXPECT_DOUBLE_EQ(accept_length({{5, 3}, {5, 2}}), 2.0);
  EXPECT_DOUBLE_EQ(accept_length({}), 0.0);
}

TEST(AcceptedLength, NothingCountsBehindTheEnd) {
  EXPECT_EQ(simulate_walk(4, [](int64_t) { return 2; }), (std::vector<int32_t>{3, 1}));
  EXPECT_TRUE(simulate_walk(0, [](int64_t) { return 2; }).empty());
}

TEST(AcceptedLength, MatcherEqualsSearchOverPaths) {
  RandomTrees random(2);
  for (int trial = 0; trial < 50; ++trial) {
    const DraftTree tree = random.tree(1 + trial, 4, 4);
    const TreeMatcher matcher(tree);
    for (int row = 0; row < 50; ++row) {
      RankPath ranks;
      for (int k = 0; k < 5; ++k) ranks.push_back(random.below(6) - 1);
      int64_t longest = 0;
      for (const RankPath& path : tree.paths) {
        if (std::equal(path.begin(), path.end(), ranks.begin())) {
          longest = std::max(longest, static_cast<int64_t>(path.size()));
        }
      }
      ASSERT_EQ(matcher.accepted(ranks), longest);
    }
  }
}

TEST(AcceptedLength, AccuraciesCountWhatTheAnswerHolds) {
  const auto marginals = marginal_accuracies({kExample}, 2, 2);
  EXPECT_EQ(marginals, (std::vector<std::vector<double>>{{0.5, 0.25}, {1.0, 0.0}}));
  EXPECT_EQ(prefix_accuracies({kExample}, 2), (std::vector<double>{0.5, 2.0 / 3.0}));
  EXPECT_DOUBLE_EQ(independent_accept_length(make_draft_tree({{0}, {1}, {0, 0}}), marginals), 2.25);
}

TEST(AcceptedLength, BootstrapCoversTheMeanAndIsSeeded) {
  std::vector<WalkCounts> prompts;
  RandomTrees random(9);
  for (int i = 0; i < 200; ++i) prompts.push_back({20 + random.below(40), 20});
  const auto [low, high] = bootstrap_interval(prompts, 1);
  const double tau = accept_length(prompts);
  EXPECT_LT(low, tau);
  EXPECT_GT(high, tau);
  // The mean of 200 uniform draws from 1 to 3 has a standard error of 0.577 / sqrt(200) = 0.041.
  EXPECT_NEAR(high - low, 2 * 1.96 * 0.041, 0.03);
  EXPECT_EQ(bootstrap_interval(prompts, 1), bootstrap_interval(prompts, 1));
  EXPECT_NE(bootstrap_interval(prompts, 1), bootstrap_interval(prompts, 2));
  EXPECT_EQ(bootstrap_interval({{30, 20}}, 4), (std::pair{1.5, 1.5}));
}

}  // namespace
}  // namespace gorgon
