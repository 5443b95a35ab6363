#include "data/byte_alphabet.h"

#include <array>

#include "data/unicode.h"

namespace gorgon {
namespace {

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr int kFirstSubstitute = 0x100;
constexpr int kSubstitutes = 68;

// The bytes that do not stand for themselves, in the order of their substitutes.
std::array<unsigned char, kSubstitutes> substituted_bytes() {
  std::array<unsigned char, kSubstitutes> bytes{};
  size_t count = 0;
  for (int byte = 0; byte < 256; ++byte) {
    if (!stands_for_itself(byte)) bytes[count++] = static_cast<unsigned char>(byte);
  }
  return bytes;
}

}  // namespace

std::string byte_alphabet_character(unsigned char byte) {
  if (stands_for_itself(byte)) return utf8_of(byte);
  int substitute = kFirstSubstitute;
  for (int other = 0; other < byte; ++other) substitute += stands_for_itself(other) ? 0 : 1;
  return utf8_of(substitute);
}

std::optional<std::string> bytes_of_alphabet(std::string_view token) {
  static const std::array<unsigned char, kSubstitutes> substituted = substituted_bytes();
  std::string bytes;
  for (size_t at = 0; at < token.size();) {
    const Character character = character_at(token, at);
    if (character.code >= 0 && character.code < 256 && stands_for_itself(character.code)) {
      bytes += static_cast<char>(character.code);
    } else if (character.code >= kFirstSubstitute && character.code < kFirstSubstitute + kSubstitutes) {
      bytes += static_cast<char>(substituted[static_cast<size_t>(character.code - kFirstSubstitute)]);
    } else {
      return std::nullopt;
    }
    at += character.bytes;
  }
  return bytes;
}

}  // namespace gorgon
