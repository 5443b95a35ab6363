// The real model in f32: whatever the drafts, every token is that of plain greedy decoding, and every step
// accepts what the simulated walk says. bench/prove_losslessness.cpp does the same over a thousand prompts.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <gtest/gtest.h>

#include "data/generator/record_chat.h"
#include "data/generator/text_to_sql.h"
#include "tests/model/temporary_heads.h"
#include "trainer/decode_evaluation.h"

namespace gorgon {
namespace {

constexpr int kHeads = 2;
constexpr int64_t kTokens = 12;

// Half of them records as JSON, half text-to-SQL; the questions alone, which are short.
std::vector<Prompt> generated_prompts(const TextModel& text, size_t count) {
  generator::RecordChatStream records(5, generator::Split::eval);
  generator::SqlChatStream queries(5, generator::Split::eval);
  std::vector<Prompt> prompts;
  while (prompts.size() < count) {
    const std::string question = prompts.size() % 2 == 0 ? records.next().question : queries.next().question;
    prompts.push_back(make_prompt({{"user", question}}, text));
  }
  return prompts;
}

// Heads that know the answers: over the tokens that occur in them, head k prefers the token whose states k +
// 1 tokens earlier point, on average, most nearly the same way. Without ResBlocks' help (zero weights are an
// identity), which is right often and wrong often: drafts of every length are accepted.
void add_heads_of_answers(const std::vector<Continuation>& answers, const std::vector<Tensor>& states,
                          int64_t hidden, TemporaryHeads& file) {
  std::map<int32_t, int64_t> rows;
  for (const Continuation& answer : answers) {
    for (const int32_t token : answer.tokens) rows.emplace(token, 0);
  }
  std::vector<int32_t> ids;
  for (auto& [token, row] : rows) {
    row = std::ssize(ids);
    ids.push_back(token);
  }
  file.add("vocab_ids", DType::i32, {std::ssize(ids)},
           std::make_shared<Tensor>(Tensor::of(ids, {std::ssize(ids)})));
  for (int k = 0; k < kHeads; ++k) {
    Tensor linear = Tensor::zeros(DType::f32, {std::ssize(ids), hidden});
    for (size_t a = 0; a < answers.size(); ++a) {
      for (int64_t t = 0; t + k + 1 < answers[a].length(); ++t) {
        const float* state = states[a].as<float>() + t * hidden;
        float norm = 0;
        for (int64_t i = 0; i < hidden; ++i) norm += state[i] * state[i];
        float* row = linear.as<float>() + rows[answers[a].tokens[static_cast<size_t>(t + k + 1)]] * hidden;
        for (int64_t i = 0; i < hidden; ++i) row[i] += state[i] / std::sqrt(norm);
      }
    }
    const std::string head = std::to_string(k);
    file.add(head + ".0.linear.weight", DType::f32, {hidden, hidden},
             std::make_shared<Tensor>(Tensor::zeros(DType::f32, {hidden, hidden})));
    file.add(head + ".0.linear.bias", DType::f32, {hidden},
             std::make_shared<Tensor>(Tensor::zeros(DType::f32, {hidden})));
    file.add(head + ".1.weight", DType::f32, {std::ssize(ids), hidden},
             std::make_shared<Tensor>(std::move(linear)));
  }
}

TEST(LosslessDecoding, ThirtyPromptsOnTheRealModel) {
  if (!std::filesystem::exists(GORGON_TEST_MODEL)) GTEST_SKIP() << "scripts/fetch_model.sh fetches the model";
  const Stream stream(Device{}, 2);
  const ModelWeights weights = load_model(GORGON_TEST_MODEL, DType::f32, stream, WeightStorage::as_stored);
  const Backbone backbone(weights, DType::f32);
  const TextModel text(GORGON_TEST_MODEL);
  const std::vector<Prompt> prompts = generated_prompts(text, 30);

  DecodeEvaluationOptions options;
  options.tree = make_draft_tree({{0}, {1}, {2}, {0, 0}, {0, 1}, {1, 0}});
  options.drafts = {Draft::both};
  options.max_new_tokens = kTokens;
  options.stop_tokens = stop_tokens(text);
  options.speed_prompts = 1;
  options.batches = {};

  DecoderOptions plain;
  plain.max_new_tokens = kTokens;
  plain.stop_tokens = options.stop_tokens;
  const DecodedSet known = decode_prompts(backbone, nullptr, plain, std::span(prompts).first(10), 10, stream);
  std::vector<Continuation> answers(known.answers.size());
  std::vector<Tensor> states;
  for (size_t a = 0; a < answers.size(); ++a) {
    answers[a].tokens = known.answers[a].tokens;
    states.push_back(answer_states(backbone, prompts[a].tokens, answers[a].tokens, stream));
  }
  TemporaryHeads file;
  add_heads_of_answers(answers, states, weights.config.hidden_size, file);
  const DraftHeads heads = DraftHeads::load(file.write(), weights.lm_head, DType::f32, stream);

  RankGroup alone;
  RankShare share(alone, [] { return false; });
  const DecodeEvaluation evaluation =
      evaluate_decoding(backbone, heads, prompts, options, stream, share,
                        [](const std::string&, int64_t) { return CountProgress{}; });
  EXPECT_TRUE(evaluation.lossless());
  EXPECT_EQ(evaluation.logit_difference, 0);
  for (const DraftResult& result : evaluation.results) {
    EXPECT_EQ(result.exact, 30) << name(result.draft);
    EXPECT_EQ(result.walk_differences, 0) << name(result.draft);
    EXPECT_EQ(result.accept_length, result.simulated) << name(result.draft);
  }
  // The drafts are worth something, or nothing was tried: steps of one, two and three tokens occur.
  const std::vector<int64_t>& lengths = evaluation.find(Draft::both)->histogram;
  ASSERT_GE(lengths.size(), 3u);
  EXPECT_GT(std::min({lengths[0], lengths[1], lengths[2]}), 5);
}

}  // namespace
}  // namespace gorgon
