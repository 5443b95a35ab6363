#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include "data/file.h"
#include "data/splits.h"

namespace gorgon::generator {

enum class Split { train, eval };

// To which split a prompt belongs: eval where data/splits.h puts it aside for calibration or test, a tenth of
// all. It depends on nothing else, so that no prompt of one occurs in the other, whatever the seeds.
inline Split split_of(std::string_view prompt) {
  return gorgon::split_of(prompt) == gorgon::Split::training ? Split::train : Split::eval;
}

// The chats make_chat(seed, 0), make_chat(seed, 1), ... of one split, without repetition of a prompt.
// prompt_of(chat) is what must not repeat.
template <auto make_chat>
class ChatStream {
 public:
  ChatStream(uint64_t seed, Split split) : seed_(seed), split_(split) {}

  auto next() {
    for (;;) {
      auto chat = make_chat(seed_, number_++);
      const std::string prompt = prompt_of(chat);
      if (split_of(prompt) == split_ && seen_.insert(sha256_of(prompt)).second) return chat;
    }
  }

 private:
  uint64_t seed_;
  Split split_;
  uint64_t number_ = 0;
  std::unordered_set<std::string> seen_;  // SHA-256 of the prompts
};

}  // namespace gorgon::generator
