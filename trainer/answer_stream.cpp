#include "trainer/answer_stream.h"

#include <utility>

#include "trainer/prompts.h"

namespace gorgon {
namespace {

// Bytes of `text` that are whole characters: it may end inside one.
size_t complete_utf8(const std::string& text) {
  size_t start = text.size();
  for (int back = 0; back < 4 && start > 0; ++back) {
    const auto byte = static_cast<unsigned char>(text[--start]);
    if (byte < 0x80) return text.size();
    if (byte < 0xc0) continue;  // inside a character
    const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return start + length > text.size() ? start : text.size();
  }
  return text.size();
}

}  // namespace

std::string AnswerStream::put(std::span<const int32_t> tokens) {
  const std::string text = continued_answer_text(tokenizer_, tokens);
  if (text.empty()) return "";
  pending_ += std::exchange(begun_, true) ? text : answer_text(tokenizer_, tokens);
  const size_t whole = complete_utf8(pending_);
  std::string out = pending_.substr(0, whole);
  pending_.erase(0, whole);
  return out;
}

std::string AnswerStream::end() {
  begun_ = false;
  return std::exchange(pending_, "");
}

}  // namespace gorgon
