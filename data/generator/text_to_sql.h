#pragma once

#include <cstdint>
#include <string>

#include "data/generator/chat_stream.h"

namespace gorgon::generator {

// A conversation that teaches text-to-SQL: tables in the system prompt, a question, one query.
struct SqlChat {
  std::string system, question, query;
};

// The chat with this number, any 64-bit one: a function of (seed, number) alone, on every machine.
SqlChat make_sql_chat(uint64_t seed, uint64_t number);

// "SYSTEM\nQUESTION".
std::string prompt_of(const SqlChat& chat);

// {"messages": [{"role": "system", "content": ...}, user, assistant]} and a newline.
std::string to_json_line(const SqlChat& chat);

using SqlChatStream = ChatStream<make_sql_chat>;

}  // namespace gorgon::generator
