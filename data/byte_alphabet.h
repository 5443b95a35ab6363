#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gorgon {

// GPT-2's alphabet (openai/gpt-2, encoder.py, bytes_to_unicode): every byte as a printable character, so that
// vocabularies are text. Printable Latin-1 stands for itself, the other 68 bytes for U+0100 to U+0143.
std::string byte_alphabet_character(unsigned char byte);

// The bytes that a token of that alphabet stands for; nothing where a character is not of it.
std::optional<std::string> bytes_of_alphabet(std::string_view token);

}  // namespace gorgon
