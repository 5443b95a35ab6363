#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace gorgon {

// A compiled pattern (PCRE2, Unicode classes), in the dialect that tokenizer files use: Oniguruma's. Const
// and usable from several threads.
class Regex {
 public:
  // `file` is named in errors. Throws Error(model) with pattern, place and reason.
  Regex(std::string pattern, std::string file);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  const std::string& pattern() const;

 private:
  friend class RegexScan;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The matches of a pattern in one text, from left to right. For one thread.
class RegexScan {
 public:
  // `text` is valid UTF-8 and must outlive this.
  RegexScan(const Regex& regex, std::string_view text);
  RegexScan(const RegexScan&) = delete;
  RegexScan& operator=(const RegexScan&) = delete;
  ~RegexScan();

  // The next match that is not empty, as [begin, end) in bytes. Throws Error(model) where the pattern needs
  // more than kStepLimit steps.
  std::optional<std::pair<size_t, size_t>> next();

  static constexpr unsigned kStepLimit = 5'000'000;

 private:
  int match(unsigned options);

  const Regex& regex_;
  std::string_view text_;
  size_t at_ = 0;
  void* match_data_;
  void* context_;
};

}  // namespace gorgon
