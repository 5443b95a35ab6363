#include "trainer/eval_verdict.h"

#include <gtest/gtest.h>

#include "trainer/eval_report.h"

namespace gorgon {
namespace {

// Gains and costs without any noise.
void make_exact(DecodeEvaluation& e) {
  e.depth_gain.assign(1, {1, 1});
  e.depth_cost.assign(1, {1, 1});
  for (size_t k = 1; k < e.depth_tau.size(); ++k) {
    const double gain = e.depth_tau[k] / e.depth_tau[k - 1];
    const double cost = std::max(1.0, e.depth_seconds[k] / e.depth_seconds[k - 1]);
    e.depth_gain.emplace_back(gain, gain);
    e.depth_cost.emplace_back(cost, cost);
  }
}

TEST(EvalVerdict, OfAHeadKnowsTheNoise) {
  DecodeEvaluation e;
  e.results.resize(1);
  e.tree_nodes = 12;
  e.depth_tau = {1.0, 1.05};
  e.depth_seconds = {0.010, 0.0102};
  make_exact(e);
  EXPECT_EQ(verdicts(e)[0], "head 1 adds 0.05 tokens a step at 2 % cost: keep it");
  e.depth_gain[1] = {1.03, 1.07};
  e.depth_cost[1] = {1.01, 1.04};
  EXPECT_EQ(verdicts(e)[0],
            "head 1 adds 0.05 tokens a step at 2 % cost: undecided within the noise (tokens times 1.03-1.07, "
            "cost 1.01-1.04)");
  e.depth_cost[1] = {1.01, 1.02};
  EXPECT_EQ(verdicts(e)[0], "head 1 adds 0.05 tokens a step at 2 % cost: keep it");
  e.depth_cost[1] = {1.08, 1.10};
  EXPECT_EQ(verdicts(e)[0], "head 1 adds 0.05 tokens a step at 2 % cost: drop it");
}

// What a head costs are its own product and the nodes that are verified on its account.
TEST(EvalVerdict, AHeadStaysWhereTokensGrowMoreThanTheStep) {
  DecodeEvaluation e;
  e.results.resize(1);
  e.tree_nodes = 12;
  e.depth_tau = {1.0, 1.5, 1.9, 1.93};
  e.depth_seconds = {0.010, 0.012, 0.016, 0.01664};
  make_exact(e);
  const auto lines = verdicts(e);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], "head 1 adds 0.50 tokens a step at 20 % cost: keep it");
  EXPECT_EQ(lines[1], "head 2 adds 0.40 tokens a step at 33 % cost: drop it");  // 0.40 of 1.5 are 27 %
  EXPECT_EQ(lines[2], "head 3 adds 0.03 tokens a step at 4 % cost: drop it");
  e.depth_tau[3] = 1.9;  // a clock that says it took less does not make it worth anything
  e.depth_seconds[3] = 0.0159;
  make_exact(e);
  EXPECT_EQ(verdicts(e)[2], "head 3 adds 0.00 tokens a step at 0 % cost: drop it");
  e.tree_nodes = 1;
  EXPECT_EQ(verdicts(e).size(), 1u);
}

// Runs of 1 token/s to either side.
DecodeEvaluation evaluation_of(const std::vector<std::pair<Draft, double>>& rates) {
  DecodeEvaluation e;
  e.tree_nodes = 5;
  for (const auto& [draft, rate] : rates) {
    DraftResult& result = e.results.emplace_back();
    result.draft = draft;
    result.speed.tokens_per_s = rate;
    result.speed.slowest = rate - 1;
    result.speed.fastest = rate + 1;
  }
  return e;
}

TEST(EvalVerdict, OfTheWholeFollowsTheRates) {
  const auto verdict = [](const std::vector<std::pair<Draft, double>>& rates) {
    return verdicts(evaluation_of(rates)).back();
  };
  const std::pair plain{Draft::plain, 10.0};
  EXPECT_EQ(verdict({plain, {Draft::heads, 15}}), "serve with the heads: 1.50 times plain decoding");
  EXPECT_EQ(verdict({plain, {Draft::heads, 12}, {Draft::both, 15}}),
            "serve with heads and lookup in one tree: 1.50 times plain decoding");
  EXPECT_EQ(
      verdict({plain, {Draft::heads, 14}, {Draft::both, 15}}),
      "serve with the heads: 1.40 times plain decoding; lookup beside them makes no difference that was "
      "measured");
  EXPECT_EQ(verdict({plain, {Draft::heads, 12.5}, {Draft::lookup, 15}}),
            "do not train: lookup gains more (1.50 times plain decoding, without any training)");
  EXPECT_EQ(verdict({plain, {Draft::heads, 7}}), "nothing pays here: plain decoding is the fastest");
}

TEST(EvalVerdict, AGapWithinTheSpreadOfTheRunsIsNone) {
  const std::pair plain{Draft::plain, 10.0};
  const std::string none = "no difference measured between the heads and plain decoding: ";
  EXPECT_EQ(verdicts(evaluation_of({plain, {Draft::heads, 11.5}})).back(),
            none + "10.5-12.5 and 9.0-11.0 tokens/s");
  EXPECT_EQ(verdicts(evaluation_of({plain, {Draft::heads, 9}})).back(),
            none + "8.0-10.0 and 9.0-11.0 tokens/s");
  for (const double heads : {14.5, 15.5}) {  // whichever of the two is ahead
    const std::string verdict =
        verdicts(evaluation_of({plain, {Draft::heads, heads}, {Draft::lookup, 15}})).back();
    EXPECT_EQ(verdict.find("do not train: "), 0u) << verdict;
  }
}

TEST(EvalVerdict, AnUnsteadyDraftDoesNotHideASteadyOne) {
  DecodeEvaluation e = evaluation_of({{Draft::plain, 10}, {Draft::heads, 15}, {Draft::both, 16}});
  e.results[2].speed.slowest = 5;
  EXPECT_EQ(verdicts(e).back(), "serve with the heads: 1.50 times plain decoding");
}

TEST(EvalVerdict, ATreeOfOneNodeIsPlainDecoding) {
  DecodeEvaluation e = evaluation_of({{Draft::plain, 10}, {Draft::heads, 20}, {Draft::both, 20}});
  e.tree_nodes = 1;
  EXPECT_EQ(
      verdicts(e),
      (std::vector<std::string>{"a tree of one node is plain decoding: the heads have nothing to gain"}));
  e = evaluation_of({{Draft::plain, 10}, {Draft::heads, 20}, {Draft::lookup, 15}});
  e.tree_nodes = 1;
  EXPECT_EQ(verdicts(e).back(),
            "do not train: lookup gains more (1.50 times plain decoding, without any training)");
}

TEST(EvalVerdict, ThereIsNoneWhereDecodingIsNotLossless) {
  DecodeEvaluation e = evaluation_of({{Draft::plain, 10}, {Draft::heads, 20}});
  e.depth_tau = {1, 2};
  e.depth_seconds = {1, 1.1};
  make_exact(e);
  EXPECT_EQ(verdicts(e).size(), 2u);
  e.results[1].divergences = {{0, 3, 0.1f, false}};  // a tie
  EXPECT_EQ(verdicts(e).size(), 2u);
  e.exact_arithmetic = true;
  const std::vector<std::string> none = {"not lossless: the speeds are worth nothing, no verdict"};
  EXPECT_EQ(verdicts(e), none);
  EXPECT_EQ(decode_json(e, {})["verdict"], none);
  EXPECT_EQ(decode_table(e).find("serve with"), std::string::npos);
  e.results[1].divergences.clear();
  e.results[1].walk_differences = 1;
  EXPECT_EQ(verdicts(e), none);
}

}  // namespace
}  // namespace gorgon
