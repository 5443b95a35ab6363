#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace gorgon {

// A token that is found in a text before any merging, as tokenizer.json describes it.
struct AddedToken {
  std::string text;
  int32_t id = -1;
  bool special = true;       // left out by decode(skip_special)
  bool normalized = false;   // looked for after the normaliser, itself normalised
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool single_word = false;  // not within a word
};

// Finds added tokens in a text: the leftmost, and of several at one place the longest.
class TokenSplitter {
 public:
  TokenSplitter() = default;
  explicit TokenSplitter(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }

  // Calls emit(begin, end, id) for all of the text from left to right; id is -1 for what lies between tokens.
  void run(std::string_view text, const std::function<void(size_t, size_t, int32_t)>& emit) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, uint32_t>> edges;
    int32_t token = -1;  // index of the token that ends here
  };

  // The longest token that starts at `at` and may stand there; -1 where there is none.
  int32_t find(std::string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  std::string first_bytes_;
};

}  // namespace gorgon
