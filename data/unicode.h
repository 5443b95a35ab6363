#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gorgon {

struct Character {
  int32_t code;  // -1 where the bytes are no UTF-8; then bytes is 1
  size_t bytes;
};

// The character that begins at `at` < text.size(), and the one that ends before `at` > 0.
Character character_at(std::string_view text, size_t at);
Character character_before(std::string_view text, size_t at);

// Place of the first byte that is no part of valid UTF-8 (overlong forms, surrogates and codes above U+10FFFF
// are not).
std::optional<size_t> find_invalid_utf8(std::string_view text);

// The text with U+FFFD in place of every byte that is no part of valid UTF-8.
std::string replace_invalid_utf8(std::string_view text);

// White_Space of the Unicode character database.
bool is_white_space(int32_t code);
// Letters, marks, digits and connectors: \w of Unicode TR 18.
bool is_word_character(int32_t code);

std::string utf8_of(int32_t code);

}  // namespace gorgon
