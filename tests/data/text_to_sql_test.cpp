#include "data/generator/text_to_sql.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/conversations.h"

namespace gorgon::generator {
namespace {

TEST(TextToSql, AboutATenthIsHeldOut) {
  int held_out = 0;
  for (uint64_t number = 0; number < 5000; ++number)
    held_out += is_in(prompt_of(make_sql_chat(1, number)), Split::eval) ? 1 : 0;
  EXPECT_NEAR(held_out, 500, 100);  // binomial: standard deviation 21
}

TEST(TextToSql, RowsAreConversations) {
  const SqlChat chat = make_sql_chat(3, 5);
  const Row row = parse_row({.text = to_json_line(chat), .file = "a", .number = 1}, 1);
  const auto& messages = std::get<std::vector<Message>>(row);
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0].role + messages[1].role + messages[2].role, "systemuserassistant");
  EXPECT_EQ(messages[0].content, chat.system);
  EXPECT_EQ(messages[2].content, chat.query);
}

// Words of upper case are SQL's; every other one that is bare and no number must stand in the tables.
TEST(TextToSql, QueriesNameOnlyColumnsAndTablesThatExist) {
  std::set<std::string> forms;
  for (uint64_t number = 0; number < 2000; ++number) {
    const SqlChat chat = make_sql_chat(9, number);
    EXPECT_THAT(chat.question, testing::Not(testing::ContainsRegex("[{}]")));
    std::string bare, form;
    bool quoted = false;
    for (const char c : chat.query) {
      if (c == '"') quoted = !quoted;
      if (!quoted) bare += c;
    }
    EXPECT_FALSE(quoted) << chat.query;
    const std::string tables = chat.system.substr(chat.system.find("SCHEMA:"));
    for (size_t i = 0; i < bare.size();) {
      size_t end = i;
      while (end < bare.size() && (std::isalnum(static_cast<unsigned char>(bare[end])) || bare[end] == '_'))
        ++end;
      const std::string word = bare.substr(i, end - i);
      i = std::max(end, i + 1);
      if (word.empty() || std::isdigit(static_cast<unsigned char>(word[0]))) continue;
      if (std::isupper(static_cast<unsigned char>(word[0]))) {
        form += word + " ";
      } else {
        EXPECT_THAT(tables, testing::HasSubstr(word)) << chat.query;
      }
    }
    forms.insert(form);
  }
  EXPECT_GE(forms.size(), 30u);  // varied: the keywords of queries in that many sequences
}

}  // namespace
}  // namespace gorgon::generator
