#include "trainer/stragglers.h"

#include <gtest/gtest.h>

namespace gorgon {
namespace {

TEST(Stragglers, TimesOfAStep) {
  const RankTimes three = rank_times({2, 5, 1});
  EXPECT_EQ(three.max, 5);
  EXPECT_EQ(three.median, 2);
  EXPECT_EQ(three.slowest, 1);
  EXPECT_EQ(three.ratio(), 2.5);
  EXPECT_EQ(rank_times({3, 1}).median, 1);
  EXPECT_EQ(rank_times({3, 1}).ratio(), 3);
  EXPECT_EQ(rank_times({0, 0}).ratio(), 1);
}

// What `steps` steps with these seconds tell of, at the end of which step.
std::vector<std::pair<int64_t, int>> told(Stragglers& stragglers, int64_t steps,
                                          const std::vector<double>& seconds) {
  std::vector<std::pair<int64_t, int>> all;
  for (int64_t step = 1; step <= steps; ++step) {
    if (const auto slow = stragglers.add(seconds)) all.emplace_back(step, slow->slowest);
  }
  return all;
}

TEST(Stragglers, AreToldOfAfterAWindow) {
  using Told = std::vector<std::pair<int64_t, int>>;
  constexpr int64_t kWindow = Stragglers::kSteps;
  Stragglers slow, even, brief, once;
  EXPECT_EQ(told(slow, 3 * kWindow, {0.1, 0.1, 0.14}), (Told{{kWindow, 2}}));
  EXPECT_EQ(told(slow, 8 * kWindow, {0.1, 0.1, 0.14}), (Told{{8 * kWindow, 2}}));  // ten windows later
  EXPECT_EQ(told(even, 3 * kWindow, {0.1, 0.1, 0.12}), Told{});
  EXPECT_EQ(told(brief, 3 * kWindow, {0.001, 0.001, 0.01}), Told{});
  EXPECT_EQ(told(once, 1, {0.1, 0.1, 0.5}), Told{});  // one slow step of many
  EXPECT_EQ(told(once, 2 * kWindow, {0.1, 0.1, 0.1}), Told{});
}

}  // namespace
}  // namespace gorgon
