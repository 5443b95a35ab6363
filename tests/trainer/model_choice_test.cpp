#include "trainer/model_choice.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gorgon {
namespace {

TEST(ModelChoice, NamesOfAllFiles) {
  EXPECT_THAT(metric_names({{"near", "a"}, {"far", "b"}}),
              testing::ElementsAre("eval_accept_length", "eval_loss", "eval_near_accept_length",
                                   "eval_near_loss", "eval_far_accept_length", "eval_far_loss"));
  EXPECT_EQ(loss_of_same_file("eval_far_accept_length"), "eval_far_loss");
  EXPECT_EQ(loss_of_same_file("eval_loss"), "eval_loss");
}

TEST(ModelChoice, ValueOfTheFileThatIsNamedElseOfTheFirst) {
  std::vector<NamedEvaluation> evaluations(2);
  evaluations[0] = {"near", {.loss = 1, .heads = {}, .accept_length = 1.5}};
  evaluations[1] = {"far", {.loss = 2, .heads = {}, .accept_length = {}}};
  EXPECT_EQ(metric_value("eval_loss", evaluations), 1);
  EXPECT_EQ(metric_value("eval_accept_length", evaluations), 1.5);
  EXPECT_EQ(metric_value("eval_far_loss", evaluations), 2);
  EXPECT_TRUE(std::isnan(metric_value("eval_far_accept_length", evaluations)));
}

TEST(ModelChoice, MoreTokensOrLessLossAreBetterAndTiesAreNot) {
  EXPECT_TRUE(is_better("eval_accept_length", 1.5, 1.4));
  EXPECT_FALSE(is_better("eval_accept_length", 1.4, 1.4));
  EXPECT_FALSE(is_better("eval_loss", 1.5, 1.4));
  EXPECT_TRUE(is_better("eval_loss", 1.3, 1.4));
  EXPECT_FALSE(is_better("eval_loss", 1.4, 1.4));
  EXPECT_FALSE(is_better("eval_accept_length", std::numeric_limits<double>::infinity(), 1.4));
}

}  // namespace
}  // namespace gorgon
