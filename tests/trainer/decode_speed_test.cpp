#include "trainer/decode_speed.h"

#include <gtest/gtest.h>

#include "trainer/eval_report.h"
#include "trainer/eval_verdict.h"

namespace gorgon {
namespace {

// One answer of four tokens in `steps` forwards that take `seconds` each, a tenth of it in the heads.
DecodedSet a_run(int steps, double seconds) {
  DecodedSet run;
  Answer answer;
  answer.tokens = {1, 2, 3, 4};
  answer.offered = std::vector<int32_t>(static_cast<size_t>(steps), 3);
  answer.offered.push_back(0);
  answer.emitted = std::vector<int32_t>(static_cast<size_t>(steps), 4 / steps);
  answer.prefilled = 30;
  answer.prefill_seconds = 0.5;
  answer.decode_seconds = seconds * steps;
  run.answers = {answer};
  run.times = {0.5, 0.8 * seconds * steps, 0.1 * seconds * steps, 0.1 * seconds * steps, steps};
  return run;
}

TEST(DecodeSpeed, AllFiguresAreOfTheMedianRunAndRunsTakeTurns) {
  std::string order;
  size_t slow = 0, fast = 0;
  const std::vector<double> seconds = {4, 1, 2};
  const auto speeds = time_in_turns({[&] {
                                       order += 's';
                                       return a_run(4, seconds.at(slow++));
                                     },
                                     [&] {
                                       order += 'f';
                                       return a_run(2, seconds.at(fast++));
                                     }});
  EXPECT_EQ(order, "sfsfsf");
  ASSERT_EQ(speeds.size(), 2u);
  EXPECT_DOUBLE_EQ(speeds[0].tokens_per_s, 4.0 / 8);
  EXPECT_DOUBLE_EQ(speeds[0].slowest, 4.0 / 16);
  EXPECT_DOUBLE_EQ(speeds[0].fastest, 4.0 / 4);
  EXPECT_DOUBLE_EQ(speeds[0].latency_mean_s, 8.5);
  EXPECT_DOUBLE_EQ(speeds[0].latency_median_s, 8.5);
  EXPECT_DOUBLE_EQ(speeds[0].latency_p90_s, 8.5);
  EXPECT_DOUBLE_EQ(speeds[0].prefill_mean_s, 0.5);
  EXPECT_DOUBLE_EQ(speeds[0].prefill_tokens_per_s, 60);
  EXPECT_DOUBLE_EQ(speeds[0].decode_mean_s, 8);
  EXPECT_DOUBLE_EQ(speeds[0].step_seconds, 2);
  EXPECT_DOUBLE_EQ(speeds[0].backbone_seconds, 1.6);
  EXPECT_DOUBLE_EQ(speeds[0].head_seconds, 0.2);
  EXPECT_DOUBLE_EQ(speeds[0].head_share, 0.1);
  EXPECT_DOUBLE_EQ(speeds[0].occupancy, 1);
  EXPECT_DOUBLE_EQ(speeds[1].tokens_per_s, 4.0 / 4);
}

// However full the forwards were: drafts that end answers sooner leave more places empty.
TEST(BatchSpeed, BreakEvenIsWhereTheSpeedUpIsOne) {
  BatchSpeed batch;
  batch.plain = speed_of(a_run(4, 1));
  for (const double seconds : {0.5, 1.9, 2.0, 2.1, 8.0}) {
    batch.drafted = speed_of(a_run(2, seconds));
    batch.drafted.occupancy = 0.6;
    EXPECT_DOUBLE_EQ(batch.drafted.accept_length, 2);
    EXPECT_DOUBLE_EQ(batch.break_even(), seconds);
    EXPECT_EQ(batch.break_even() <= batch.drafted.accept_length, batch.speedup() >= 1) << seconds;
  }
}

TEST(EvalReport, SaysWhereSpeedUpIsNotTauOverCost) {
  DecodeEvaluation e;
  e.prompts = 40;
  e.timed_prompts = 16;
  e.depth_tau = {1};
  e.results.resize(2);
  e.results[1].draft = Draft::heads;
  for (DraftResult& result : e.results) result.speed = speed_of(a_run(4, 1));
  e.results[1].forward_tokens = 2;
  e.results[1].speed.step_seconds = 1.25;  // tau / cost 1.6
  e.results[1].speed.tokens_per_s = 1.7;
  EXPECT_TRUE(speed_warnings(e).empty());
  e.results[1].speed.tokens_per_s = 1.8;
  ASSERT_EQ(speed_warnings(e).size(), 1u);
  EXPECT_EQ(speed_warnings(e)[0].find("heads: the speed-up 1.80 is not tau / step cost 1.60"), 0u);
  EXPECT_NE(speed_warnings(e)[0].find("the timed prompts (the first 16 of 40) are not like all"),
            std::string::npos);
  e.timed_prompts = 40;
  EXPECT_TRUE(speed_warnings(e).empty()) << "no prompt is unlike all";
  const auto json = decode_json(e, {});
  EXPECT_DOUBLE_EQ(json["tau_over_overhead"], 1.6);
  EXPECT_DOUBLE_EQ(json["medusa"]["tau_over_overhead"], 1.6);
  EXPECT_DOUBLE_EQ(json["medusa"]["speedup"], 1.8);
  EXPECT_NE(decode_table(e).find("1.80     1.60"), std::string::npos);
}

}  // namespace
}  // namespace gorgon
