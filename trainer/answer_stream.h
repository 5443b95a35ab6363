#pragma once

#include <span>
#include <string>

#include "data/tokenizer.h"

namespace gorgon {

// The text of an answer whose tokens come a few at a time. All that put() and end() give, joined, is
// answer_text() of all tokens: where a tokenizer takes a space off the front it does so once, and a character
// that a token cuts waits for its last byte.
class AnswerStream {
 public:
  explicit AnswerStream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // Whole characters that are new; may be empty.
  std::string put(std::span<const int32_t> tokens);
  // Bytes of a character that the answer ends in the midst of.
  std::string end();

 private:
  const Tokenizer& tokenizer_;
  bool begun_ = false;   // whether there is any text yet
  std::string pending_;  // the first bytes of a character
};

}  // namespace gorgon
