#include "data/splits.h"

#include <set>

#include <gtest/gtest.h>

namespace gorgon {
namespace {

// python3 -c 'import hashlib; [print(int(hashlib.sha256(p.encode()).hexdigest(),16)%100) for p in (...)]'
TEST(Splits, GoldenRemainders) {
  EXPECT_EQ(split_of("p101"), Split::calibration);  // 0
  EXPECT_EQ(split_of("p103"), Split::calibration);  // 4
  EXPECT_EQ(split_of("p31"), Split::test);          // 5
  EXPECT_EQ(split_of("p23"), Split::test);          // 9
  EXPECT_EQ(split_of("p76"), Split::training);      // 10
  EXPECT_EQ(split_of("p2"), Split::training);       // 99
}

TEST(Splits, DisjointAndWithoutDuplicates) {
  std::vector<std::string> prompts;
  for (int i = 0; i < 4000; ++i) prompts.push_back("prompt " + std::to_string(i % 3000));
  const PromptSplits splits = split_prompts(prompts);
  EXPECT_EQ(splits.duplicates, 1000);
  std::set<int64_t> all;
  for (const auto* part : {&splits.calibration, &splits.test, &splits.training}) {
    for (const int64_t i : *part) EXPECT_TRUE(all.insert(i).second);
  }
  EXPECT_EQ(all.size(), 3000u);
  EXPECT_EQ(*all.rbegin(), 2999);
  // 5 % of 3,000 within four standard deviations, sqrt(3000 * 0.05 * 0.95) = 12.
  EXPECT_NEAR(static_cast<double>(splits.calibration.size()), 150, 48);
  EXPECT_NEAR(static_cast<double>(splits.test.size()), 150, 48);
}

}  // namespace
}  // namespace gorgon
