#include "data/generator/record_chat.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gorgon::generator {
namespace {

// Every field of the question stands in the answer, in its order, and both answers are JSON.
TEST(RecordChat, AnswersAreTheRecordsOfTheirQuestions) {
  RecordChatStream stream(42, Split::train);
  for (int i = 0; i < 500; ++i) {
    const RecordChat chat = stream.next();
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

}  // namespace
}  // namespace gorgon::generator
