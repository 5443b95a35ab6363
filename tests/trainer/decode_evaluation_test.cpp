#include "trainer/decode_evaluation.h"

#include <gtest/gtest.h>

#include "tests/model/temporary_heads.h"
#include "tests/model/tiny_model.h"
#include "tests/trainer/json_keys.h"
#include "trainer/eval_report.h"
#include "trainer/eval_verdict.h"
#include "trainer/step_costs.h"

namespace gorgon {
namespace {

class DecodeEvaluationTest : public testing::Test {
 protected:
  DecodeEvaluationTest() {
    file_.add_heads(model_, 2);
    heads_.emplace(DraftHeads::load(file_.write(), model_.weights().lm_head, DType::f32, stream_));
    for (int i = 0; i < 8; ++i) {
      Prompt prompt;
      prompt.tokens = model_.prompt(4 + i);
      prompts_.push_back(prompt);
    }
    options_.tree = make_draft_tree({{0}, {1}, {2}, {3}, {4}, {5}, {0, 0}, {1, 0}, {1, 1}, {0, 1}});
    options_.drafts = {Draft::heads, Draft::lookup, Draft::both};
    options_.max_new_tokens = 20;
    options_.stop_tokens = {3};
    options_.speed_prompts = 2;
    options_.batches = {1, 4};
  }
  DecodeEvaluation evaluate() {
    return evaluate_decoding(backbone_, *heads_, prompts_, options_, stream_, share_,
                             [](const std::string&, int64_t) { return CountProgress{}; });
  }

  TinyModel model_{31};
  Stream stream_{Device{}, 2};
  Backbone backbone_{model_.weights(), DType::f32};
  TemporaryHeads file_;
  std::optional<DraftHeads> heads_;
  RankGroup alone_;
  RankShare share_{alone_, [] { return false; }};
  std::vector<Prompt> prompts_;
  DecodeEvaluationOptions options_;
};

TEST_F(DecodeEvaluationTest, MeasuredEqualsSimulatedAndNothingIsLost) {
  const DecodeEvaluation evaluation = evaluate();
  ASSERT_EQ(evaluation.results.size(), 4u);
  EXPECT_TRUE(evaluation.lossless());
  EXPECT_EQ(evaluation.logit_difference, 0);  // one row alone and among others: the same bits
  for (const DraftResult& result : evaluation.results) {
    EXPECT_EQ(result.exact, 8);
    EXPECT_EQ(result.walk_differences, 0);
    EXPECT_DOUBLE_EQ(result.accept_length, result.simulated);
    EXPECT_LE(result.interval.first, result.accept_length);
    EXPECT_GE(result.interval.second, result.accept_length);
    int64_t emitted = 0;
    for (size_t a = 0; a < result.histogram.size(); ++a)
      emitted += result.histogram[a] * static_cast<int64_t>(a + 1);
    EXPECT_EQ(emitted, evaluation.tokens);
  }
  EXPECT_DOUBLE_EQ(evaluation.plain().accept_length, 1);
  EXPECT_GT(evaluation.find(Draft::heads)->accept_length, 1);
  EXPECT_GE(evaluation.find(Draft::both)->accept_length, 1);
  EXPECT_DOUBLE_EQ(evaluation.depth_tau.front(), 1);
  EXPECT_DOUBLE_EQ(evaluation.depth_tau.back(), evaluation.find(Draft::heads)->accept_length);
}

TEST_F(DecodeEvaluationTest, HeadsAreCountedWhereTheAnswerGoesOn) {
  const DecodeEvaluation evaluation = evaluate();
  EXPECT_EQ(evaluation.heads[0].count, evaluation.tokens - 8);
  EXPECT_LE(evaluation.heads[1].count, evaluation.tokens - 8);
  EXPECT_EQ(evaluation.heads[0].inside, evaluation.heads[0].count);
  for (const HeadSums& head : evaluation.heads) {
    for (size_t n = 1; n < 5; ++n) EXPECT_GE(head.top[n], head.top[n - 1]);
  }
  EXPECT_DOUBLE_EQ(evaluation.prefix[0], static_cast<double>(evaluation.heads[0].top[0]) /
                                             static_cast<double>(evaluation.heads[0].count));
}

TEST_F(DecodeEvaluationTest, ReportHasItsKeys) {
  const auto json = decode_json(evaluate(), {0.1, 0.1});
  for (const char* key :
       {"own_answers", "chain_tau", "tree_tau", "plain", "medusa", "lookup", "both", "speedup", "overhead",
        "prompts", "tokens", "exact_match", "divergences", "batches", "verdict"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_EQ(json["verdict"].size(), 3u);
  EXPECT_EQ(json["batches"].size(), 4u);
  EXPECT_TRUE(json["divergences"].empty());
  EXPECT_EQ(json["exact_match"], 1.0);
}

// Program.EveryKeyOfEvalIsDocumented compares the others.
TEST_F(DecodeEvaluationTest, KeysOfDivergencesAreDocumented) {
  options_.batches = {};
  DecodeEvaluation evaluation = evaluate();
  evaluation.results[1].divergences = {{0, 3, 0.1f, false}};
  std::set<std::string> written, documented;
  add_json_keys(decode_json(evaluation, {0.1, 0.1})["divergences"], "divergences", written);
  for (const std::string& key : documented_eval_keys()) {
    if (key.starts_with("divergences[]")) documented.insert(key);
  }
  EXPECT_EQ(written, documented);
}

TEST_F(DecodeEvaluationTest, BreakEvenAgreesWithTheSpeedUp) {
  const auto json = decode_json(evaluate(), {0.1, 0.1});
  ASSERT_EQ(json["batches"].size(), 4u);
  for (const auto& batch : json["batches"]) {
    EXPECT_EQ(batch["break_even_tau"] <= batch["tau"], batch["speedup"] >= 1.0) << batch;
    EXPECT_GE(batch["tau"], 1.0);
  }
}

TEST_F(DecodeEvaluationTest, GainsAndCostsOfHeadsHaveIntervals) {
  options_.batches = {};
  const DecodeEvaluation e = evaluate();
  ASSERT_EQ(e.depth_gain.size(), 3u);
  ASSERT_EQ(e.depth_cost.size(), 3u);
  for (size_t k = 1; k < 3; ++k) {
    const double gain = e.depth_tau[k] / e.depth_tau[k - 1];
    EXPECT_LE(e.depth_gain[k].first, gain);
    EXPECT_GE(e.depth_gain[k].second, gain);
    EXPECT_GE(e.depth_cost[k].first, 1);
    EXPECT_LE(e.depth_cost[k].first, e.depth_cost[k].second);
  }
}

TEST_F(DecodeEvaluationTest, StepsOfEveryDepthAreTimed) {
  options_.batches = {};
  const DecodeEvaluation evaluation = evaluate();
  ASSERT_EQ(evaluation.depth_seconds.size(), 3u);
  for (const double seconds : evaluation.depth_seconds) EXPECT_GT(seconds, 0);
  EXPECT_EQ(decode_json(evaluation, {0.1, 0.1})["depths"].size(), 3u);
  options_.drafts = {Draft::lookup};
  EXPECT_TRUE(evaluate().depth_seconds.empty());
}

TEST(DecodeEvaluation, OnlySmallMarginsAreTies) {
  DecodeEvaluation e;
  e.exact_arithmetic = true;
  e.results.resize(1);
  EXPECT_TRUE(e.lossless());
  e.results[0].divergences = {{0, 3, 0.1f, false}};
  EXPECT_FALSE(e.lossless());
  e.exact_arithmetic = false;
  EXPECT_TRUE(e.lossless());
  e.results[0].divergences[0].failure = true;
  EXPECT_FALSE(e.lossless());
}

// Two models' own answers to the same prompts: what differs, and by how much, is theirs.
TEST_F(DecodeEvaluationTest, MarginsOfRealDivergencesDecide) {
  TinyModel other_model{32};
  const Backbone other(other_model.weights(), DType::f32);
  DecoderOptions options;
  options.max_new_tokens = options_.max_new_tokens;
  options.stop_tokens = options_.stop_tokens;
  const DecodedSet plain = decode_prompts(backbone_, nullptr, options, prompts_, 1, stream_);
  const DecodedSet others = decode_prompts(other, nullptr, options, prompts_, 1, stream_);
  int found = 0;
  for (size_t p = 0; p < prompts_.size(); ++p) {
    const Answer& answer = plain.answers[p];
    EXPECT_FALSE(first_divergence(answer, answer, 0).has_value());
    const auto divergence = first_divergence(answer, others.answers[p], 0);
    if (!divergence) continue;
    ++found;
    const auto at = static_cast<size_t>(divergence->index);
    ASSERT_LT(at, answer.tokens.size());
    EXPECT_NE(answer.tokens[at], others.answers[p].tokens.at(at));
    EXPECT_EQ(divergence->margin, answer.margin[at]);
    EXPECT_GT(divergence->margin, 0);
    EXPECT_TRUE(divergence->failure);
    EXPECT_FALSE(first_divergence(answer, others.answers[p], 0.51f * divergence->margin)->failure);
    EXPECT_TRUE(first_divergence(answer, others.answers[p], 0.49f * divergence->margin)->failure);
  }
  EXPECT_GT(found, 0);
}

// A stop token is a choice as any other; no rounding ends an answer, or goes on, without one.
TEST(DecodeEvaluation, AnEndIsATieOnlyWhereItWasChosen) {
  Answer plain, other;
  plain.tokens = {5, 6, 3};  // 3 ends an answer
  plain.margin = {4, 0.5f, 0.01f};
  other.tokens = {5, 6, 7, 8};
  EXPECT_FALSE(first_divergence(plain, other, 0.01f)->failure);
  EXPECT_TRUE(first_divergence(plain, other, 0.001f)->failure);
  other.tokens = {5, 3};
  EXPECT_EQ(first_divergence(plain, other, 1)->margin, 0.5f);
  EXPECT_FALSE(first_divergence(plain, other, 1)->failure);
  EXPECT_TRUE(first_divergence(plain, other, 0.1f)->failure);
  for (const auto& tokens : std::vector<std::vector<int32_t>>{{5, 6}, {5, 6, 3, 9}, {}}) {
    other.tokens = tokens;
    ASSERT_TRUE(first_divergence(plain, other, 100).has_value());
    EXPECT_TRUE(first_divergence(plain, other, 100)->failure) << tokens.size();
  }
}

void expect_nothing_timed(const DecodeEvaluation& evaluation) {
  const auto json = decode_json(evaluation, {0.1, 0.1});
  for (const char* key : {"speedup", "overhead", "tau_over_overhead"})
    EXPECT_TRUE(json.at(key).is_null()) << key;
  for (const char* key : {"tokens_per_s", "tokens_per_s_range", "step_s", "speedup", "overhead"})
    EXPECT_TRUE(json["medusa"].at(key).is_null()) << key;
  for (const char* key : {"tokens_per_s", "speedup", "tau", "break_even_tau", "occupancy"})
    EXPECT_TRUE(json["batches"][0].at(key).is_null()) << key;
  EXPECT_EQ(json["exact_match"], 1.0);
  EXPECT_GT(json["plain"]["latency_mean_s"], 0.0);
  const std::vector<std::string> none = {"nothing was decoded after the first token: no speeds, no verdict"};
  EXPECT_EQ(verdicts(evaluation), none);
  EXPECT_TRUE(speed_warnings(evaluation).empty());
  const std::string table = decode_table(evaluation);
  EXPECT_EQ(table.find("nan"), std::string::npos) << table;
  EXPECT_EQ(table.find("tokens/s"), std::string::npos) << table;
  EXPECT_NE(table.find(none[0]), std::string::npos) << table;
}

TEST_F(DecodeEvaluationTest, NothingIsSaidOfSpeedsBehindNoForward) {
  options_.max_new_tokens = 1;
  options_.drafts = {Draft::heads};
  options_.batches = {1, 4};
  expect_nothing_timed(evaluate());
  options_.max_new_tokens = 20;  // answers that are empty: whatever begins one ends it
  options_.stop_tokens.clear();
  for (int32_t token = 0; token < model_.weights().config.vocab_size; ++token)
    options_.stop_tokens.push_back(token);
  expect_nothing_timed(evaluate());
}

TEST_F(DecodeEvaluationTest, TableTellsPrefillAndDivergences) {
  options_.drafts = {Draft::heads};
  options_.batches = {};
  DecodeEvaluation evaluation = evaluate();
  const auto json = decode_json(evaluation, {0.1, 0.1});
  EXPECT_NEAR(json["plain"]["prefill_mean_s"].get<double>() + json["plain"]["decode_mean_s"].get<double>(),
              json["plain"]["latency_mean_s"].get<double>(), 1e-9);
  EXPECT_GT(json["medusa"]["prefill_tokens_per_s"], 0.0);
  DraftResult& heads = evaluation.results[1];
  heads.accept_length = heads.simulated = 1.5;
  heads.interval = {1.4, 1.6};
  heads.exact = 5;
  heads.divergences = {{0, 3, 0.1f, false}, {1, 3, 0.1f, false}, {2, 3, 9, true}};
  const std::string table = decode_table(evaluation);
  EXPECT_NE(table.find("  heads  1.500   1.400-1.600       1.500   62.5%     2        1\n"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("prompt tokens a second; an answer behind it: "), std::string::npos) << table;
}

// Short answers, whose last roots are many of the steps: they take no forward, and explain no speed.
TEST_F(DecodeEvaluationTest, OfAllPromptsTheSpeedUpIsTauOverCost) {
  options_.max_new_tokens = 3;
  options_.speed_prompts = std::ssize(prompts_);
  options_.batches = {};
  const DecodeEvaluation evaluation = evaluate();
  EXPECT_TRUE(speed_warnings(evaluation).empty());
  for (const DraftResult& result : evaluation.results) {
    const double expected = tau_over_overhead(evaluation, result);
    EXPECT_NEAR(speedup(evaluation, result), expected, 1e-9 * expected);  // rounding of a few divisions
  }
}

TEST_F(DecodeEvaluationTest, LookupAloneIsNotTakenForHeads) {
  options_.batches = {4};
  options_.drafts = {Draft::lookup};
  const auto lookup = decode_json(evaluate(), {0.1, 0.1});
  for (const char* key : {"draft", "tree_tau", "speedup", "overhead", "tau_over_overhead"})
    EXPECT_TRUE(lookup.at(key).is_null()) << key;
  EXPECT_GT(lookup["lookup"]["speedup"], 0.0);
  EXPECT_EQ(lookup["exact_match"], 1.0);
  EXPECT_EQ(lookup["batches"][0]["draft"], "lookup");
  options_.drafts = {Draft::both};
  const auto both = decode_json(evaluate(), {0.1, 0.1});
  EXPECT_EQ(both["draft"], "both");
  EXPECT_EQ(both["tree_tau"]["measured"], both["both"]["tau"]);
}

// Twice as many requests as a batch of four has places; what is timed is named, and batch 1 is the timing of
// the drafts itself.
TEST_F(DecodeEvaluationTest, BatchesAreFull) {
  options_.stop_tokens = {};  // answers of equal length: plain decoding fills every forward
  const DecodeEvaluation evaluation = evaluate();
  ASSERT_EQ(evaluation.batches.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const BatchSpeed& batch = evaluation.batches[i];
    EXPECT_EQ(batch.batch, i < 2 ? 1 : 4);
    EXPECT_EQ(batch.requests, i < 2 ? 2 : 8);
    EXPECT_EQ(batch.draft, i % 2 == 0 ? Draft::heads : Draft::both);
    EXPECT_DOUBLE_EQ(batch.plain.occupancy, static_cast<double>(batch.batch));
    EXPECT_GT(batch.drafted.occupancy, i < 2 ? 0.99 : 2);
    EXPECT_LE(batch.drafted.occupancy, static_cast<double>(batch.batch));
    EXPECT_LE(batch.plain.slowest, batch.plain.tokens_per_s);
    EXPECT_GE(batch.plain.fastest, batch.plain.tokens_per_s);
  }
  EXPECT_EQ(evaluation.batches[0].drafted.tokens_per_s, evaluation.find(Draft::heads)->speed.tokens_per_s);
  const auto json = decode_json(evaluation, {0.1, 0.1});
  EXPECT_EQ(json["batches"][3]["draft"], "both");
  EXPECT_EQ(json["batches"][3]["plain_occupancy"], 4.0);
}

TEST_F(DecodeEvaluationTest, SampledAnswersAreNotCompared) {
  options_.temperature = 0.8;
  options_.batches = {};
  const DecodeEvaluation evaluation = evaluate();
  EXPECT_TRUE(evaluation.lossless());
  const auto json = decode_json(evaluation, {0.1, 0.1});
  EXPECT_DOUBLE_EQ(json["temperature"], 0.8);
  for (const char* key : {"chain_tau", "exact_match", "divergences"})
    EXPECT_TRUE(json.at(key).is_null()) << key;
  EXPECT_TRUE(json["tree_tau"]["simulated"].is_null());
  EXPECT_TRUE(json["tree_tau"]["independent"].is_null());
  EXPECT_GE(json["tree_tau"]["measured"], 1.0);
  for (const char* draft : {"plain", "medusa", "lookup", "both"}) {
    for (const char* key : {"exact_match", "tau_simulated", "walk_differences"})
      EXPECT_TRUE(json[draft].at(key).is_null()) << draft << " " << key;
    EXPECT_GT(json[draft]["tokens_per_s"], 0.0);
  }
  EXPECT_EQ(json["verdict"].size(), 1u);  // of the whole, none of a head
  const std::string table = decode_table(evaluation);
  EXPECT_NE(table.find("sampled: not comparable"), std::string::npos);
  EXPECT_EQ(table.find("0.0%\n", table.find("draft")), std::string::npos);
}

TEST_F(DecodeEvaluationTest, StepCostsAreMeasuredForEverySize) {
  const StepCosts costs = measure_step_costs(backbone_, *heads_, 16, 16, stream_);
  ASSERT_EQ(costs.verify.size(), 5u);
  EXPECT_EQ(costs.verify.back().first, 16);
  EXPECT_EQ(costs.heads.size(), 2u);
  for (const auto& [nodes, seconds] : costs.verify) EXPECT_GT(seconds, 0) << nodes;
}

}  // namespace
}  // namespace gorgon
