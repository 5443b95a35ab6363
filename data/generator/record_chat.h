#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>

#include "data/generator/text_to_sql.h"

namespace gorgon::generator {

// A conversation that writes records as JSON: one record with its answer as the example, then another of the
// same fields. Even a model of 135 million parameters answers such questions rightly, and at length.
struct RecordChat {
  std::string example, example_answer, question, answer;
};

// The chat with this number, any 64-bit one: a function of (seed, number) alone, on every machine.
RecordChat make_record_chat(uint64_t seed, uint64_t number);

// As split_of(const SqlChat&), by "EXAMPLE\nANSWER\nQUESTION".
Split split_of(const RecordChat& chat);

// {"messages": [user, assistant, user, assistant]} and a newline.
std::string to_json_line(const RecordChat& chat);

// The chats of one split in the order of their numbers, without repetition of a prompt.
class RecordChatStream {
 public:
  RecordChatStream(uint64_t seed, Split split) : seed_(seed), split_(split) {}
  RecordChat next();

 private:
  uint64_t seed_;
  Split split_;
  uint64_t number_ = 0;
  std::unordered_set<std::string> seen_;  // SHA-256 of the prompts
};

}  // namespace gorgon::generator
