#include "model/draft_tree.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/model/random_trees.h"

namespace gorgon {
namespace {

// The example of the tree definitions, node by node.
TEST(DraftTree, GoldenBuffers) {
  const DraftTree tree = make_draft_tree({{0, 0, 0}, {1}, {0, 1}, {0}, {1, 0}, {0, 0}});
  EXPECT_EQ(tree.paths, (std::vector<RankPath>{{0}, {1}, {0, 0}, {0, 1}, {1, 0}, {0, 0, 0}}));
  EXPECT_EQ(tree_index(tree, 10), (std::vector<int32_t>{0, 1, 2, 11, 12, 11, 21}));
  const TreeBuffers buffers = tree_buffers(tree_parents(tree));
  EXPECT_EQ(buffers.depth, (std::vector<int32_t>{0, 1, 1, 2, 2, 2, 3}));
  EXPECT_EQ(buffers.retrieve,
            (std::vector<std::vector<int32_t>>{{0, 1, 3, 6}, {0, 2, 5, -1}, {0, 1, 4, -1}}));
  EXPECT_EQ(buffers.mask, (std::vector<uint64_t>{1, 3, 5, 0b1011, 0b10011, 0b100101, 0b1001011}));
}

TEST(DraftTree, TheRootAloneIsATree) {
  const DraftTree tree = make_draft_tree({});
  EXPECT_EQ(tree.nodes(), 1);
  EXPECT_EQ(tree.depth(), 0);
  EXPECT_EQ(tree.ranks(), 0);
  const TreeBuffers buffers = tree_buffers(tree_parents(tree));
  EXPECT_EQ(buffers.mask, (std::vector<uint64_t>{1}));
  EXPECT_EQ(buffers.retrieve, (std::vector<std::vector<int32_t>>{{0}}));
}

TEST(DraftTree, ChainTakesEveryFirstChoice) {
  EXPECT_EQ(chain_tree(3), make_draft_tree({{0}, {0, 0}, {0, 0, 0}}));
  EXPECT_EQ(chain_tree(0).nodes(), 1);
}

bool is_prefix(const RankPath& a, const RankPath& b) {
  return a.size() <= b.size() && std::equal(a.begin(), a.end(), b.begin());
}

// Buffers of random trees (up to three words a mask row) against their definitions over paths.
TEST(DraftTree, EqualsTheDefinitionOnRandomTrees) {
  RandomTrees random(7);
  for (int trial = 0; trial < 60; ++trial) {
    const DraftTree tree = random.tree(trial % 10 == 0 ? 150 : 1 + trial);
    const TreeBuffers buffers = tree_buffers(tree_parents(tree));
    std::vector<RankPath> nodes = {{}};
    nodes.insert(nodes.end(), tree.paths.begin(), tree.paths.end());
    ASSERT_EQ(buffers.nodes(), static_cast<int64_t>(nodes.size()));
    for (size_t i = 0; i < nodes.size(); ++i) {
      EXPECT_EQ(buffers.depth[i], static_cast<int32_t>(nodes[i].size()));
      for (size_t j = 0; j < nodes.size(); ++j) {
        ASSERT_EQ(buffers.sees(static_cast<int64_t>(i), static_cast<int64_t>(j)),
                  is_prefix(nodes[j], nodes[i]));
      }
    }
    // Rows: backwards over the paths, those skipped that an earlier row covers.
    std::set<RankPath> covered;
    std::vector<std::vector<int32_t>> rows;
    for (size_t i = nodes.size(); i-- > 0;) {
      if (covered.contains(nodes[i])) continue;
      std::vector<int32_t> row(static_cast<size_t>(tree.depth()) + 1, -1);
      for (size_t length = 0; length <= nodes[i].size(); ++length) {
        const RankPath prefix(nodes[i].begin(), nodes[i].begin() + static_cast<ptrdiff_t>(length));
        covered.insert(prefix);
        row[length] = static_cast<int32_t>(std::find(nodes.begin(), nodes.end(), prefix) - nodes.begin());
      }
      rows.push_back(row);
    }
    EXPECT_EQ(buffers.retrieve, rows);
  }
}

TEST(DraftTree, SaysWhatIsWrong) {
  EXPECT_EQ(tree_problem({{0}, {1, 0}}), "path [1,0] without its prefix [1]");
  EXPECT_EQ(tree_problem({{0}, {0}}), "a path that is there twice");
  EXPECT_EQ(tree_problem({{-1}}), "rank -1 (0 to 63)");
  EXPECT_EQ(tree_problem({{}}), "an empty path (the root is not listed)");
  EXPECT_EQ(tree_problem({{0}, {2}, {0, 0}}), "");
  EXPECT_THROW(make_draft_tree({{0, 0}}), Error);
}

}  // namespace
}  // namespace gorgon
