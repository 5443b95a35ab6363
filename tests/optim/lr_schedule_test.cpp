#include "optim/lr_schedule.h"

#include <gtest/gtest.h>

#include "golden.h"

namespace gorgon {
namespace {

LrScheduler scheduler(const std::string& name) {
  if (name == "constant") return LrScheduler::constant;
  if (name == "constant_with_warmup") return LrScheduler::constant_with_warmup;
  if (name == "linear") return LrScheduler::linear;
  if (name == "cosine") return LrScheduler::cosine;
  return LrScheduler::cosine_with_min_lr;
}

TEST(LrSchedule, AgreesWithHuggingFace) {
  const auto goldens = optimizer_golden();  // a range-for would not keep it alive
  for (const auto& golden : goldens["schedules"]) {
    LrOptions options;
    options.scheduler = scheduler(golden["name"]);
    options.learning_rate = 2.0;
    options.warmup_steps = golden["warmup"];
    options.min_lr_rate = golden["min_lr_rate"];
    const int64_t steps = golden["max_steps"];
    for (int64_t s = 1; s <= steps; ++s) {
      EXPECT_NEAR(learning_rate(options, s, steps),
                  2.0 * golden["lambda"][static_cast<size_t>(s - 1)].get<double>(), 1e-14)
          << golden["name"] << " step " << s;
    }
  }
}

TEST(LrSchedule, WarmupStepsWinOverTheRatio) {
  LrOptions options;
  options.warmup_ratio = 0.03;
  EXPECT_EQ(warmup_steps(options, 100), 3);
  EXPECT_EQ(warmup_steps(options, 101), 4);  // rounded up
  options.warmup_steps = 7;
  EXPECT_EQ(warmup_steps(options, 100), 7);
}

TEST(LrSchedule, StaysAtZeroBehindTheEnd) {
  LrOptions options;
  options.scheduler = LrScheduler::linear;
  EXPECT_EQ(learning_rate(options, 20, 10), 0.0);
}

}  // namespace
}  // namespace gorgon
