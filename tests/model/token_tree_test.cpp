#include "model/token_tree.h"

#include <gtest/gtest.h>

namespace gorgon {
namespace {

TEST(TokenTree, HeadsAndACopyShareNodes) {
  TokenTree tree(9);
  tree.add_tree(make_draft_tree({{0}, {1}, {0, 0}}), {{40, 41}, {50, 51}}, 2);
  EXPECT_EQ(tree.tokens, (std::vector<int32_t>{9, 40, 41, 50}));
  EXPECT_EQ(tree.parent, (std::vector<int32_t>{-1, 0, 0, 1}));
  tree.add_path(std::vector<int32_t>{41, 50, 60});
  EXPECT_EQ(tree.tokens, (std::vector<int32_t>{9, 40, 41, 50, 50, 60}));
  EXPECT_EQ(tree.parent, (std::vector<int32_t>{-1, 0, 0, 1, 2, 4}));
  tree.add_path(std::vector<int32_t>{40, 50});
  EXPECT_EQ(tree.nodes(), 6);
}

TEST(TokenTree, StopsAtTheDepthAllowed) {
  TokenTree tree(9);
  tree.add_tree(chain_tree(3), {{1}, {2}, {3}}, 1);
  EXPECT_EQ(tree.tokens, (std::vector<int32_t>{9, 1}));
}

TEST(TokenTree, LeavesOutRanksThatAVocabularyLacks) {
  TokenTree tree(9);
  tree.add_tree(make_draft_tree({{0}, {2}, {2, 0}}), {{1, 4}, {2}}, 2);
  EXPECT_EQ(tree.tokens, (std::vector<int32_t>{9, 1}));
}

}  // namespace
}  // namespace gorgon
