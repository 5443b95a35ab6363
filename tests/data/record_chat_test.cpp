#include "data/generator/record_chat.h"

#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/file.h"

namespace gorgon::generator {
namespace {

std::vector<RecordChat> chats_of(Split split, int rows, uint64_t seed = 42) {
  RecordChatStream stream(seed, split);
  std::vector<RecordChat> chats;
  for (int i = 0; i < rows; ++i) chats.push_back(stream.next());
  return chats;
}

TEST(RecordChat, NoPromptOccursTwiceInOrAcrossSplits) {
  std::set<std::string> all;
  size_t rows = 0;
  for (const uint64_t seed : {42, 7}) {
    for (const auto& [split, count] : {std::pair(Split::train, 1000), std::pair(Split::eval, 100)}) {
      for (const RecordChat& chat : chats_of(split, count, seed)) {
        ASSERT_EQ(split_of(chat), split);
        all.insert(chat.example + "\n" + chat.example_answer + "\n" + chat.question);
        ++rows;
      }
    }
  }
  EXPECT_EQ(all.size(), rows);
}

// Every field of the question stands in the answer, in its order, and both answers are JSON.
TEST(RecordChat, AnswersAreTheRecordsOfTheirQuestions) {
  for (const RecordChat& chat : chats_of(Split::train, 500)) {
    const auto answer = nlohmann::ordered_json::parse(chat.answer);
    const auto example = nlohmann::ordered_json::parse(chat.example_answer);
    EXPECT_GE(answer.size(), 4u);
    EXPECT_EQ(answer.size(), example.size());
    std::string lines;
    for (const auto& [key, value] : answer.items()) {
      EXPECT_TRUE(example.contains(key));
      lines += "\n" + key + ": " + (value.is_string() ? value.get<std::string>() : value.dump());
    }
    EXPECT_TRUE(chat.question.ends_with(lines)) << chat.question << chat.answer;
    EXPECT_TRUE(chat.question.starts_with("Write this "));
  }
}

// As for text-to-SQL: a change of these bytes changes every figure of the quickstart.
TEST(RecordChat, TheFirstRowsAreFixed) {
  std::string train, eval;
  for (const RecordChat& chat : chats_of(Split::train, 100)) train += to_json_line(chat);
  for (const RecordChat& chat : chats_of(Split::eval, 100)) eval += to_json_line(chat);
  EXPECT_EQ(sha256_of(train), "c3ebb8cb9e4ab939a3fc90eb8f3698db37d0b9d22548f3b2e515707be84875a2");
  EXPECT_EQ(sha256_of(eval), "55a3e04e4e2b28e16fb1309d26e64567b8c54d28729f65274c33e2440c9f29de");
}

}  // namespace
}  // namespace gorgon::generator
