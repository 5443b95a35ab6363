#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace gorgon {

// The first 64 bits of the SHA-256 by which split_of divides prompts. Two of a million different prompts are
// the same with a probability of 3e-8.
uint64_t prompt_hash(std::string_view prompt);

// A set of prompts that are known by their hashes alone: whether a prompt was seen before can be said without
// the data it came from.
//
// File: the line "gorgon prompts 1", then the hashes, ascending, each once, as 64-bit little-endian numbers:
// 8 bytes a prompt.
class PromptHashes {
 public:
  PromptHashes() = default;
  explicit PromptHashes(std::vector<uint64_t> hashes);  // in any order, repeated or not

  bool contains(std::string_view prompt) const;
  int64_t size() const { return static_cast<int64_t>(hashes_.size()); }
  bool operator==(const PromptHashes&) const = default;

  void write(const std::filesystem::path& path) const;          // atomically; Error(resource)
  static PromptHashes read(const std::filesystem::path& path);  // Error(data) where it is no such file

  // As text: 16 hexadecimal digits a prompt. Error(data) naming `place` for any other text.
  std::string hex() const;
  static PromptHashes parse_hex(std::string_view text, const std::string& place);

 private:
  std::vector<uint64_t> hashes_;  // ascending, each once
};

}  // namespace gorgon
