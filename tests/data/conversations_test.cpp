#include "data/conversations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/expect_error.h"

namespace gorgon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kVocabulary = 100;

Row parse(const std::string& text) {
  return parse_row({.text = text, .file = "data/a.jsonl", .number = 7}, kVocabulary);
}

TEST(ParseRow, Messages) {
  const auto messages = std::get<std::vector<Message>>(parse(
      R"({"id": 3, "messages": [{"role": "system", "content": ""}, {"role": "user", "content": "caf\u00e9 \ud83d\ude00", "weight": 1},
          {"content": "ok", "role": "assistant"}], "text": "not this"})"));
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0].role, "system");
  EXPECT_EQ(messages[1].content, "café 😀");
  EXPECT_EQ(messages[2].role, "assistant");
  EXPECT_TRUE(std::get<std::vector<Message>>(parse(R"({"messages": []})")).empty());
}

TEST(ParseRow, Text) {
  EXPECT_EQ(std::get<std::string>(parse(R"({"text": "a\u0000b\n"})")), std::string("a\0b\n", 4));
  EXPECT_EQ(std::get<std::string>(parse(R"(  {"text": ""}  )")), "");
}

TEST(ParseRow, Tokens) {
  const auto row =
      std::get<TokenRow>(parse(R"({"input_ids": [0, 5, 99], "labels": [-100, 5, -100], "text": "x"})"));
  EXPECT_THAT(row.tokens, ElementsAre(0, 5, 99));
  EXPECT_THAT(row.labels, ElementsAre(-100, 5, -100));
  const auto plain = std::get<TokenRow>(parse(R"({"input_ids": [1, 2]})"));
  EXPECT_THAT(plain.labels, ElementsAre(1, 2));
  EXPECT_TRUE(std::get<TokenRow>(parse(R"({"input_ids": [], "labels": []})")).tokens.empty());
}

struct HostileLine {
  std::string text;
  const char* says;
};

TEST(ParseRow, HostileLines) {
  const std::string deep(200, '[');
  const std::vector<HostileLine> lines = {
      {"{\"text\": \"a\"", "data/a.jsonl:7:"},
      {"{\"text\": \"a\"", "the end of the text"},
      {"{\"text\": \"a\"} {}", "data/a.jsonl:7:15"},
      {"not json", "data/a.jsonl:7:2"},
      {"{'text': 1}", "data/a.jsonl:7:2"},
      {"{\"text\": NaN}", "data/a.jsonl:7:"},
      {std::string("{\"text\": \"\xff\"}"), "data/a.jsonl:7:"},
      {std::string("{\"text\": \"\xc0\xaf\"}"), "data/a.jsonl:7:"},
      {std::string("{\"text\": \"\xed\xa0\x80\"}"), "data/a.jsonl:7:"},
      {R"({"text": "\ud800"})", "data/a.jsonl:7:"},
      {R"({"text": "\udc00 x"})", "data/a.jsonl:7:"},
      {std::string("{\"text\": \"a\0\"}", 14), "data/a.jsonl:7:"},
      {"{\"messages\": " + deep, "64"},
      {"{\"text\": \"a\", \"text\": \"b\"}", "duplicate"},
      {"[1]", "data/a.jsonl:7: expected an object, found a value of type array"},
      {"5", "expected an object, found the number 5"},
      {"{}", "expected the key \"messages\", \"text\" or \"input_ids\", found no key"},
      {R"({"prompt": "a", "completion": "b"})", "found keys 'completion, prompt'"},
      {R"({"text": 5})", "text: expected a string, found the number 5"},
      {R"({"text": null})", "text: expected a string, found a value of type null"},
      {R"({"messages": "hi"})", "messages: expected a list of messages, found the string 'hi'"},
      {R"({"messages": ["hi"]})",
       "messages[0]: expected an object with role and content, found the string 'hi'"},
      {R"({"messages": [{"role": "user", "content": "a"}, {"from": "gpt", "value": "b"}]})",
       "messages[1]: expected the key \"role\", found keys 'from, value'"},
      {R"({"messages": [{"role": "user"}]})", "messages[0]: expected the key \"content\", found keys 'role'"},
      {R"({"messages": [{"role": "bot\u001b[31m", "content": "a"}]})",
       "messages[0].role: expected system, user, assistant or tool, found 'bot\\x1b[31m'"},
      {R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})",
       "messages[0].content: expected a string, found a value of type array"},
      {R"({"input_ids": "5"})", "input_ids: expected a list of token ids"},
      {R"({"input_ids": [1, 100]})", "input_ids[1]: expected an id in [0, 100), found the number 100"},
      {R"({"input_ids": [-1]})", "input_ids[0]: expected an id in [0, 100), found the number -1"},
      {R"({"input_ids": [-100]})", "found the number -100"},
      {R"({"input_ids": [1.0]})", "found the number 1.0"},
      {R"({"input_ids": [true]})", "found a value of type boolean"},
      {R"({"input_ids": [4294967296]})", "found the number 4294967296"},
      {R"({"input_ids": [18446744073709551615]})", "found the number 18446744073709551615"},
      {R"({"input_ids": [1e400]})", "data/a.jsonl:7"},
      {R"({"input_ids": [1, 2], "labels": [1]})", "labels: expected 2 labels, as many as input_ids, found 1"},
      {R"({"input_ids": [1, 2], "labels": [2, -100]})",
       "labels[0]: expected -100 or the id 1 of input_ids, found 2; labels are not shifted"},
      {R"({"input_ids": [1], "labels": [-1]})",
       "labels[0]: expected an id in [0, 100) or -100, found the number -1"},
      {R"({"input_ids": [1], "labels": null})", "labels: expected a list of token ids"},
  };
  for (const HostileLine& line : lines) {
    SCOPED_TRACE(line.text);
    const std::string error = error_of(ExitCode::data, [&] { parse(line.text); });
    EXPECT_THAT(error, HasSubstr(line.says));
    EXPECT_THAT(error, HasSubstr("data/a.jsonl:7"));
  }
}

TEST(ParseRow, LongValuesAreCutInErrors) {
  const std::string error =
      error_of(ExitCode::data, [&] { parse("{\"messages\": \"" + std::string(100000, 'x') + "\"}"); });
  EXPECT_LT(error.size(), 200u);
}

}  // namespace
}  // namespace gorgon
