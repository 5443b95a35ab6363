#include "data/prompt_hashes.h"

#include <algorithm>
#include <charconv>

#include "data/file.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

constexpr std::string_view kMark = "gorgon prompts 1\n";
constexpr size_t kDigits = 16, kBytes = 8;

}  // namespace

uint64_t prompt_hash(std::string_view prompt) {
  const std::string sum = sha256_of(prompt);
  uint64_t hash = 0;
  std::from_chars(sum.data(), sum.data() + kDigits, hash, 16);
  return hash;
}

PromptHashes::PromptHashes(std::vector<uint64_t> hashes) : hashes_(std::move(hashes)) {
  std::sort(hashes_.begin(), hashes_.end());
  hashes_.erase(std::unique(hashes_.begin(), hashes_.end()), hashes_.end());
}

bool PromptHashes::contains(std::string_view prompt) const {
  return std::binary_search(hashes_.begin(), hashes_.end(), prompt_hash(prompt));
}

void PromptHashes::write(const std::filesystem::path& path) const {
  std::string bytes(kMark);
  for (const uint64_t hash : hashes_) {
    for (size_t i = 0; i < kBytes; ++i) bytes += static_cast<char>(hash >> (8 * i) & 0xff);
  }
  write_atomically(path, bytes);
}

PromptHashes PromptHashes::read(const std::filesystem::path& path) {
  const std::string bytes = read_text(path, ExitCode::data);
  std::vector<uint64_t> hashes;
  bool good = bytes.starts_with(kMark) && (bytes.size() - kMark.size()) % kBytes == 0;
  for (size_t at = kMark.size(); good && at < bytes.size(); at += kBytes) {
    uint64_t hash = 0;
    for (size_t i = 0; i < kBytes; ++i)
      hash |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
    good = hashes.empty() || hashes.back() < hash;
    hashes.push_back(hash);
  }
  if (!good) fail(ExitCode::data, {path.string(), "", "hashes of prompts", "a damaged file", "remove it"});
  return PromptHashes(std::move(hashes));
}

std::string PromptHashes::hex() const {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (const uint64_t hash : hashes_) {
    for (int shift = 60; shift >= 0; shift -= 4) text += kHex[hash >> shift & 0xf];
  }
  return text;
}

PromptHashes PromptHashes::parse_hex(std::string_view text, const std::string& place) {
  std::vector<uint64_t> hashes;
  bool good = text.size() % kDigits == 0;
  for (size_t at = 0; good && at < text.size(); at += kDigits) {
    const char* const end = text.data() + at + kDigits;
    const auto [stop, error] = std::from_chars(text.data() + at, end, hashes.emplace_back(), 16);
    good = error == std::errc() && stop == end;
  }
  if (!good) fail(ExitCode::data, {place, "", "16 hexadecimal digits a prompt", "other text", ""});
  return PromptHashes(std::move(hashes));
}

}  // namespace gorgon
