#include "data/generator/text_to_sql.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/conversations.h"
#include "data/file.h"

namespace gorgon::generator {
namespace {

// Rows of the default files.
std::vector<SqlChat> chats_of(Split split, int rows, uint64_t seed = 42) {
  ChatStream stream(seed, split);
  std::vector<SqlChat> chats;
  for (int i = 0; i < rows; ++i) chats.push_back(stream.next());
  return chats;
}

std::set<std::string> prompts_of(const std::vector<SqlChat>& chats) {
  std::set<std::string> prompts;
  for (const SqlChat& chat : chats) prompts.insert(chat.system + "\n" + chat.question);
  return prompts;
}

TEST(TextToSql, NoPromptOccursTwiceInOrAcrossSplits) {
  std::set<std::string> all;
  size_t rows = 0;
  for (const uint64_t seed : {42, 7}) {
    for (const auto& [split, count] : {std::pair(Split::train, 2000), std::pair(Split::eval, 200)}) {
      const auto chats = chats_of(split, count, seed);
      const auto prompts = prompts_of(chats);
      EXPECT_EQ(prompts.size(), chats.size());
      for (const SqlChat& chat : chats) ASSERT_EQ(split_of(chat), split);
      all.insert(prompts.begin(), prompts.end());
      rows += chats.size();
    }
  }
  EXPECT_EQ(all.size(), rows);  // other seeds give other rows too
}

// The numbers of the data set belong to the program: whoever trains on the default files trains on these
// bytes. A change of the generator changes them, and with them every figure that was measured on the
// quickstart.
TEST(TextToSql, TheFirstRowsAreFixed) {
  std::string train, eval;
  for (const SqlChat& chat : chats_of(Split::train, 100)) train += to_json_line(chat);
  for (const SqlChat& chat : chats_of(Split::eval, 100)) eval += to_json_line(chat);
  EXPECT_EQ(sha256_of(train), "132676058ec0323f33daa3540f1d06d9fcdd65bc9089737fa8d30aa51667f134");
  EXPECT_EQ(sha256_of(eval), "da651cdc09d6e2de79acbea780172cb6e5165f67bbd205827ad0474759e7d1b8");
}

TEST(TextToSql, AboutATenthIsHeldOut) {
  int held_out = 0;
  for (uint64_t number = 0; number < 5000; ++number)
    held_out += split_of(make_chat(1, number)) == Split::eval;
  EXPECT_NEAR(held_out, 500, 100);  // binomial: standard deviation 21
}

TEST(TextToSql, RowsAreConversations) {
  const SqlChat chat = make_chat(3, 5);
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
    const SqlChat chat = make_chat(9, number);
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
