#include "model/head_vocabulary.h"

#include <gtest/gtest.h>

namespace gorgon {
namespace {

using Ids = std::vector<int32_t>;

// Two sequences; tokens 6 (twice) and 2 are targets: labels of the first two places of a sequence are not.
TokenCounts example() {
  const Ids tokens{1, 6, 6, 3, 3, 6, 5, 5, 2, 3}, labels{-100, 6, 6, -100, -100, 6, 5, 5, 2, -100};
  const std::vector<int64_t> offsets{0, 6, 10};
  return count_tokens(tokens, labels, offsets, 8);
}

TEST(HeadVocabulary, CountsTargetsWhereAHeadHasThem) {
  const TokenCounts counts = example();
  EXPECT_EQ(counts.as_target, (std::vector<int64_t>{0, 0, 1, 0, 0, 0, 2, 0}));
  EXPECT_EQ(counts.in_all, (std::vector<int64_t>{0, 1, 1, 3, 0, 2, 3, 0}));
}

TEST(HeadVocabulary, TargetsComeFirstThenFrequencyThenTheLowestId) {
  const TokenCounts counts = example();
  EXPECT_EQ(choose_vocabulary(kFullVocabulary, counts), Ids{});
  EXPECT_EQ(choose_vocabulary(kSeenVocabulary, counts), (Ids{2, 6}));
  EXPECT_EQ(choose_vocabulary(1, counts), (Ids{6}));
  EXPECT_EQ(choose_vocabulary(2, counts), (Ids{2, 6}));
  EXPECT_EQ(choose_vocabulary(3, counts), (Ids{2, 3, 6}));
  EXPECT_EQ(choose_vocabulary(4, counts), (Ids{2, 3, 5, 6}));
  EXPECT_EQ(choose_vocabulary(6, counts), (Ids{0, 1, 2, 3, 5, 6}));  // 0 is as rare as 4 and 7
  EXPECT_EQ(choose_vocabulary(8, counts), Ids{});                    // all of them
}

TEST(HeadVocabulary, FindsColumns) {
  EXPECT_EQ(column_of(Ids{2, 6}, 6), 1);
  EXPECT_EQ(column_of(Ids{2, 6}, 2), 0);
  EXPECT_EQ(column_of(Ids{2, 6}, 5), -1);
  EXPECT_EQ(column_of(Ids{2, 6}, 7), -1);
  EXPECT_EQ(column_of(Ids{}, 7), 7);
}

}  // namespace
}  // namespace gorgon
