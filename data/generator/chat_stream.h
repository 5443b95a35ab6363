#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include "data/file.h"
#include "data/splits.h"

namespace gorgon::generator {

// eval is calibration and test together.
enum class Split { train, eval, calibration, test };

// Whether a prompt belongs to a split: data/splits.h puts a twentieth of all aside for calibration and
// another for tests. It depends on nothing else, so that no prompt of one occurs in the others, whatever the
// seeds.
inline bool is_in(std::string_view prompt, Split split) {
  const gorgon::Split found = gorgon::split_of(prompt);
  switch (split) {
    case Split::train:
      return found == gorgon::Split::training;
    case Split::eval:
      return found != gorgon::Split::training;
    case Split::calibration:
      return found == gorgon::Split::calibration;
    case Split::test:
      return found == gorgon::Split::test;
  }
  return false;
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
      if (is_in(prompt, split_) && seen_.insert(sha256_of(prompt)).second) return chat;
    }
  }

 private:
  uint64_t seed_;
  Split split_;
  uint64_t number_ = 0;
  std::unordered_set<std::string> seen_;  // SHA-256 of the prompts
};

}  // namespace gorgon::generator
