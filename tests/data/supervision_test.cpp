#include "data/supervision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/file.h"
#include "data/json.h"
#include "tests/data/expect_error.h"
#include "tests/data/real_text_model.h"

namespace gorgon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Labels = std::vector<int32_t>;

Document document_of(const Row& row, std::optional<bool> assistant_only = {}) {
  const RealTextModel& model = real_text_model();
  return make_document(row, model.tokenizer, &model.chat_template, assistant_only);
}

Row chat(std::vector<Message> messages) {
  return messages;
}

TEST(LabelsWithin, ATokenCountsWhereAllItsBytesDo) {
  const std::vector<TokenSpan> tokens = {{1, 0, 3},  {2, 3, 5},   {3, 5, 5},  {4, 5, 9},
                                         {5, 9, 10}, {6, 10, 12}, {7, 12, 13}};
  EXPECT_THAT(labels_within(tokens, {}), testing::Each(-100));
  EXPECT_THAT(labels_within(tokens, {{0, 13}}), ElementsAre(1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(labels_within(tokens, {{3, 9}}), ElementsAre(-100, 2, 3, 4, -100, -100, -100));
  EXPECT_THAT(labels_within(tokens, {{4, 10}}), ElementsAre(-100, -100, 3, 4, 5, -100, -100));
  EXPECT_THAT(labels_within(tokens, {{0, 2}, {3, 5}, {10, 11}, {12, 13}}),
              ElementsAre(-100, 2, -100, -100, -100, -100, 7));
  EXPECT_THAT(labels_within(tokens, {{6, 7}, {7, 8}}), testing::Each(-100));
}

class MakeDocument : public WithRealTextModel {};

TEST_F(MakeDocument, ChatsAsTransformersMasksThem) {
  const std::string file = GORGON_TEST_DATA "/dataset/chat_masks.json";
  const Json golden = parse_json(read_text(file, ExitCode::data), {.file = file});
  ASSERT_GE(golden.size(), 8u);
  for (const Json& row : golden) {
    SCOPED_TRACE(row.at("text").get<std::string>());
    std::vector<Message> messages;
    for (const Json& message : row.at("messages"))
      messages.push_back({message.at("role"), message.at("content")});
    const Document answers = document_of(messages);
    EXPECT_EQ(answers.tokens, row.at("input_ids").get<Labels>());
    EXPECT_EQ(answers.labels, row.at("labels").get<Labels>());
    EXPECT_FALSE(answers.skipped);
    const Document all = document_of(messages, false);
    EXPECT_EQ(all.tokens, answers.tokens);
    EXPECT_EQ(all.labels, all.tokens);
  }
}

TEST_F(MakeDocument, TextIsSupervisedAndNothingIsAdded) {
  const RealTextModel& model = real_text_model();
  const std::string text = "SELECT 12<|im_end|>\n";
  const Document document = document_of(text);
  EXPECT_EQ(document.tokens, model.tokenizer.encode(text));
  EXPECT_EQ(document.labels, document.tokens);
  EXPECT_EQ(document_of(text, false).tokens, document.tokens);
}

// A text gets the beginning of a sequence where the model's tokenizer puts it there, once, and no end.
TEST_F(MakeDocument, TextBeginsAsTheModelsOwnTokenizerBeginsIt) {
  const Tokenizer llama3 = Tokenizer::from_directory(GORGON_TEST_DATA "/tokenizer/llama3");
  ASSERT_TRUE(llama3.adds_bos());
  std::vector<int32_t> expected = llama3.encode("some text");
  expected.insert(expected.begin(), llama3.bos_id());
  const Document document = make_document(std::string("some text"), llama3, nullptr, std::nullopt);
  EXPECT_EQ(document.tokens, expected);
  EXPECT_EQ(document.labels, expected);
  const std::string written = llama3.token_text(llama3.bos_id()) + "some text";
  EXPECT_EQ(make_document(written, llama3, nullptr, std::nullopt).tokens, expected);
  EXPECT_EQ(make_document(std::string(), llama3, nullptr, std::nullopt).skipped, SkipReason::empty);
}

TEST_F(MakeDocument, TokensStayAsTheyAre) {
  const Document document = document_of(TokenRow{{5, 6, 7}, {-100, 6, 7}});
  EXPECT_THAT(document.tokens, ElementsAre(5, 6, 7));
  EXPECT_THAT(document.labels, ElementsAre(-100, 6, 7));
  EXPECT_THAT(document_of(TokenRow{{5, 6}, {5, 6}}, true).labels, ElementsAre(5, 6));
}

TEST_F(MakeDocument, RowsThatCannotBeUsed) {
  const Row question = chat({{"user", "Hello?"}});
  EXPECT_EQ(document_of(question).skipped, SkipReason::no_assistant);
  EXPECT_EQ(document_of(question, true).skipped, SkipReason::no_assistant);
  EXPECT_FALSE(document_of(question, false).skipped);
  EXPECT_EQ(document_of(chat({})).skipped, SkipReason::empty);
  EXPECT_EQ(document_of(std::string()).skipped, SkipReason::empty);
  EXPECT_EQ(document_of(std::string("text"), true).skipped, SkipReason::no_assistant);
  EXPECT_EQ(document_of(TokenRow{}).skipped, SkipReason::empty);
  EXPECT_EQ(document_of(TokenRow{{5, 6}, {-100, -100}}).skipped, SkipReason::not_supervised);
}

TEST_F(MakeDocument, ATemplateMayRefuseAConversation) {
  const RealTextModel& model = real_text_model();
  const ChatTemplate strict(
      "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system here') "
      "}}"
      "{% endif %}{{ message['content'] }}{% endfor %}",
      "", "", "strict");
  const Document refused =
      make_document(chat({{"system", "s"}, {"assistant", "a"}}), model.tokenizer, &strict, std::nullopt);
  EXPECT_EQ(refused.skipped, SkipReason::refused_by_template);
  EXPECT_THAT(refused.why, HasSubstr("no system here"));
}

TEST_F(MakeDocument, AModelWithoutATemplateTakesTextOnly) {
  const RealTextModel& model = real_text_model();
  const std::string line = error_of(ExitCode::model, [&] {
    make_document(chat({{"user", "q"}, {"assistant", "a"}}), model.tokenizer, nullptr, std::nullopt);
  });
  EXPECT_THAT(line, HasSubstr("chat_template: expected a chat template"));
  EXPECT_FALSE(make_document(std::string("text"), model.tokenizer, nullptr, std::nullopt).tokens.empty());
}

}  // namespace
}  // namespace gorgon
