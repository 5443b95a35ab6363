#include "model/prompt_lookup.h"

#include <gtest/gtest.h>

namespace gorgon {
namespace {

using Ids = std::vector<int32_t>;

TEST(PromptLookup, LongestThenMostRecent) {
  // "1 2" is followed by 9 first and by 7 later; "5 1 2" is there once, earlier.
  EXPECT_EQ(prompt_lookup(Ids{5, 1, 2, 9, 0, 1, 2, 7, 5, 1, 2}, {3, 2}), (Ids{9, 0}));
  EXPECT_EQ(prompt_lookup(Ids{5, 1, 2, 9, 0, 1, 2, 7, 5, 1, 2}, {2, 2}), (Ids{7, 5}));
  EXPECT_EQ(prompt_lookup(Ids{5, 1, 2, 9, 0, 1, 2, 7, 8, 2}, {3, 2}), (Ids{7, 8}));
}

TEST(PromptLookup, StopsAtTheEnd) {
  EXPECT_EQ(prompt_lookup(Ids{4, 4}, {3, 5}), (Ids{4}));
  EXPECT_EQ(prompt_lookup(Ids{4, 6, 4}, {3, 5}), (Ids{6, 4}));
  EXPECT_EQ(prompt_lookup(Ids{1, 2, 3}, {3, 5}), (Ids{}));
  EXPECT_EQ(prompt_lookup(Ids{1}, {3, 5}), (Ids{}));
  EXPECT_EQ(prompt_lookup(Ids{}, {3, 5}), (Ids{}));
}

}  // namespace
}  // namespace gorgon
