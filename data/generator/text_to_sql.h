#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>

namespace gorgon::generator {

// A conversation that teaches text-to-SQL: tables in the system prompt, a question, one query.
struct SqlChat {
  std::string system, question, query;
};

enum class Split { train, eval };

// The chat with this number, any 64-bit one: a function of (seed, number) alone, on every machine.
SqlChat make_chat(uint64_t seed, uint64_t number);

// To which split a prompt ("SYSTEM\nQUESTION") belongs: eval where data/splits.h puts it aside for
// calibration or test, a tenth of all. It depends on nothing else, so that no prompt of one occurs in the
// other, whatever the seeds.
Split split_of(const SqlChat& chat);

// {"messages": [{"role": "system", "content": ...}, user, assistant]} and a newline.
std::string to_json_line(const SqlChat& chat);

// The chats of one split in the order of their numbers, without repetition of a prompt.
class ChatStream {
 public:
  ChatStream(uint64_t seed, Split split) : seed_(seed), split_(split) {}
  SqlChat next();

 private:
  uint64_t seed_;
  Split split_;
  uint64_t number_ = 0;
  std::unordered_set<std::string> seen_;  // SHA-256 of the prompts
};

}  // namespace gorgon::generator
