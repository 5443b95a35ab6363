#include "data/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <array>
#include <new>

#include <pcre2.h>

#include "kernels/error.h"

namespace gorgon {
namespace {

constexpr size_t kLongestPattern = 1 << 16;
constexpr unsigned kHeapLimitKib = 64 * 1024;  // backtracking frames of one match

// What \s means to Oniguruma and Unicode; PCRE2's own has U+180E too, which Unicode 6.3 took out.
constexpr std::string_view kWhiteSpace =
    "\\x{09}-\\x{0d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{"
    "3000}";

// \s and \S spelled out, as far as a class allows it (\S within a class stays PCRE2's).
std::string spell_out_white_space(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\' || i + 1 == pattern.size()) {
      // A ] right behind [ or [^ is a member; no tokenizer writes it, and PCRE2 then reports the pattern.
      if (c == '[') in_class = true;
      if (c == ']') in_class = false;
      out += c;
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's') {
      out += in_class ? std::string(kWhiteSpace) : "[" + std::string(kWhiteSpace) + "]";
    } else if (escaped == 'S' && !in_class) {
      out += "[^" + std::string(kWhiteSpace) + "]";
    } else {
      out += c;
      out += escaped;
    }
  }
  return out;
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct Regex::Impl {
  std::string pattern, file;
  pcre2_code* code = nullptr;
  ~Impl() { pcre2_code_free(code); }
};

Regex::Regex(std::string pattern, std::string file) : impl_(std::make_unique<Impl>()) {
  impl_->pattern = std::move(pattern);
  impl_->file = std::move(file);
  const auto reject = [this](const std::string& reason) {
    fail(ExitCode::model,
         {impl_->file, "pre-tokenizer pattern " + quote_value(impl_->pattern), "a regular expression", reason,
          "use the tokenizer files that the model came with"});
  };
  if (impl_->pattern.size() > kLongestPattern) reject(std::to_string(impl_->pattern.size()) + " bytes");
  const std::string spelled = spell_out_white_space(impl_->pattern);
  int code = 0;
  size_t place = 0;
  impl_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &place, nullptr);
  if (code == PCRE2_ERROR_HEAP_FAILED) throw std::bad_alloc();
  if (!impl_->code) reject("'" + message_of(code) + "' near " + quote_value(spelled.substr(place, 16)));
  // Without a just-in-time compiler for this machine the same code is interpreted.
  pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE);
}

Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

const std::string& Regex::pattern() const {
  return impl_->pattern;
}

RegexScan::RegexScan(const Regex& regex, std::string_view text) : regex_(regex), text_(text) {
  auto* context = pcre2_match_context_create(nullptr);
  auto* data = pcre2_match_data_create_from_pattern(regex.impl_->code, nullptr);
  if (!context || !data) {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    throw std::bad_alloc();
  }
  pcre2_set_match_limit(context, kStepLimit);
  pcre2_set_heap_limit(context, kHeapLimitKib);
  context_ = context;
  match_data_ = data;
}

RegexScan::~RegexScan() {
  pcre2_match_data_free(static_cast<pcre2_match_data*>(match_data_));
  pcre2_match_context_free(static_cast<pcre2_match_context*>(context_));
}

int RegexScan::match(unsigned options) {
  return pcre2_match(regex_.impl_->code, reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(), at_,
                     PCRE2_NO_UTF_CHECK | options, static_cast<pcre2_match_data*>(match_data_),
                     static_cast<pcre2_match_context*>(context_));
}

std::optional<std::pair<size_t, size_t>> RegexScan::next() {
  while (at_ < text_.size()) {
    int status = match(0);
    // Compiled code has a small stack; the interpreter keeps its frames on the heap.
    if (status == PCRE2_ERROR_JIT_STACKLIMIT) status = match(PCRE2_NO_JIT);
    if (status == PCRE2_ERROR_NOMATCH) break;
    if (status == PCRE2_ERROR_NOMEMORY) throw std::bad_alloc();
    if (status < 0) {
      fail(ExitCode::model,
           {regex_.impl_->file, "pre-tokenizer pattern " + quote_value(regex_.pattern()),
            "at most " + std::to_string(kStepLimit) + " steps a match",
            "'" + message_of(status) + "' on a text of " + std::to_string(text_.size()) + " bytes",
            "the pattern needs exponential time; use the tokenizer files that the model came with"});
    }
    const size_t* found = pcre2_get_ovector_pointer(static_cast<pcre2_match_data*>(match_data_));
    const auto [begin, end] = std::pair(found[0], found[1]);
    if (end > begin && begin >= at_) {
      at_ = end;
      return std::pair(begin, end);
    }
    // An empty match: go on behind the next character.
    at_ = std::max(at_, begin) + 1;
    while (at_ < text_.size() && (static_cast<unsigned char>(text_[at_]) & 0xC0) == 0x80) ++at_;
  }
  at_ = text_.size();
  return std::nullopt;
}

}  // namespace gorgon
