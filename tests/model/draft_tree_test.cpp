#include "model/draft_tree.h"

#include <algorithm>
#include <set>
#include <utility>

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

// Every buffer made anew from its definition over paths, the slow way: searched for, never derived.
class BruteForce {
 public:
  explicit BruteForce(const DraftTree& tree) : depth_(tree.depth()) {
    nodes_.insert(nodes_.end(), tree.paths.begin(), tree.paths.end());
  }
  const std::vector<RankPath>& nodes() const { return nodes_; }

  int32_t find(const RankPath& path) const {
    return static_cast<int32_t>(std::find(nodes_.begin(), nodes_.end(), path) - nodes_.begin());
  }
  std::vector<int32_t> parents() const {
    std::vector<int32_t> parents = {-1};
    for (size_t i = 1; i < nodes_.size(); ++i)
      parents.push_back(find(RankPath(nodes_[i].begin(), nodes_[i].end() - 1)));
    return parents;
  }
  // Where the candidate of a node stands in a list of (depth, rank): the root's, then each head's first topk.
  std::vector<int32_t> index(int32_t topk) const {
    std::vector<std::pair<int, int32_t>> candidates = {{0, 0}};
    for (int depth = 1; depth <= depth_; ++depth) {
      for (int32_t rank = 0; rank < topk; ++rank) candidates.emplace_back(depth, rank);
    }
    std::vector<int32_t> index;
    for (const RankPath& path : nodes_) {
      const std::pair wanted(static_cast<int>(path.size()), path.empty() ? 0 : path.back());
      index.push_back(
          static_cast<int32_t>(std::find(candidates.begin(), candidates.end(), wanted) - candidates.begin()));
    }
    return index;
  }
  // Rows: backwards over the paths, those skipped that an earlier row covers.
  std::vector<std::vector<int32_t>> retrieve() const {
    std::set<RankPath> covered;
    std::vector<std::vector<int32_t>> rows;
    for (size_t i = nodes_.size(); i-- > 0;) {
      if (covered.contains(nodes_[i])) continue;
      std::vector<int32_t> row(static_cast<size_t>(depth_) + 1, -1);
      for (size_t length = 0; length <= nodes_[i].size(); ++length) {
        const RankPath prefix(nodes_[i].begin(), nodes_[i].begin() + static_cast<ptrdiff_t>(length));
        covered.insert(prefix);
        row[length] = find(prefix);
      }
      rows.push_back(row);
    }
    return rows;
  }

 private:
  std::vector<RankPath> nodes_ = {{}};
  int depth_;
};

// Buffers of random trees (up to three words a mask row), those of the decoder and those that other
// implementations are compared by.
TEST(DraftTree, EqualsTheDefinitionOnRandomTrees) {
  RandomTrees random(7);
  for (int trial = 0; trial < 60; ++trial) {
    const DraftTree tree = random.tree(trial % 10 == 0 ? 150 : 1 + trial);
    const BruteForce expected(tree);
    const std::vector<RankPath>& nodes = expected.nodes();
    EXPECT_EQ(tree_parents(tree), expected.parents());
    const int32_t topk = tree.ranks() + random.below(5);
    EXPECT_EQ(tree_index(tree, topk), expected.index(topk));

    const TreeBuffers buffers = tree_buffers(tree_parents(tree));
    ASSERT_EQ(buffers.nodes(), static_cast<int64_t>(nodes.size()));
    EXPECT_EQ(buffers.parent, expected.parents());
    ASSERT_EQ(std::ssize(buffers.mask), buffers.nodes() * buffers.mask_words);
    for (size_t i = 0; i < nodes.size(); ++i) {
      EXPECT_EQ(buffers.depth[i], static_cast<int32_t>(nodes[i].size()));
      for (int64_t j = 0; j < 64 * buffers.mask_words; ++j) {  // nothing beyond the last node either
        const bool seen = j < buffers.nodes() && is_prefix(nodes[static_cast<size_t>(j)], nodes[i]);
        ASSERT_EQ(buffers.sees(static_cast<int64_t>(i), j), seen) << i << " " << j;
      }
    }
    EXPECT_EQ(buffers.retrieve, expected.retrieve());
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
