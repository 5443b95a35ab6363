#pragma once

#include <cstdint>
#include <string>

#include "data/generator/chat_stream.h"

namespace gorgon::generator {

// A conversation that writes records as JSON: one record with its answer as the example, then another of the
// same fields. Even a model of 135 million parameters answers such questions rightly, and at length.
struct RecordChat {
  std::string example, example_answer, question, answer;
};

// The chat with this number, any 64-bit one: a function of (seed, number) alone, on every machine.
RecordChat make_record_chat(uint64_t seed, uint64_t number);

// "EXAMPLE\nANSWER\nQUESTION".
std::string prompt_of(const RecordChat& chat);

// {"messages": [user, assistant, user, assistant]} and a newline.
std::string to_json_line(const RecordChat& chat);

using RecordChatStream = ChatStream<make_record_chat>;

}  // namespace gorgon::generator
