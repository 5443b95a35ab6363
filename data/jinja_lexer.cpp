#include "data/jinja_lexer.h"

#include <algorithm>
#include <array>

#include "data/unicode.h"
#include "kernels/error.h"

namespace gorgon::jinja {
namespace {

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Jinja reads every kind of line end as "\n" and drops one at the very end.
std::string with_unix_lines(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& place) : text_(with_unix_lines(source)), place_(place) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) {
      const size_t tag = find_tag();
      add_text(tag);
      if (tag == std::string::npos) break;
      const char kind = text_[tag + 1];
      at_ = tag + 2;
      if (at_ < text_.size() && (text_[at_] == '-' || text_[at_] == '+')) ++at_;
      if (kind == '#') {
        skip_comment();
      } else {
        read_tag(kind == '{');
      }
    }
    add(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  void add(Token::Kind kind, std::string value) { tokens_.push_back({kind, std::move(value), line_}); }

  // Moves to `place`, counting lines.
  void advance(size_t place) {
    line_ += std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                        text_.begin() + static_cast<std::ptrdiff_t>(place), '\n');
    at_ = place;
  }

  size_t find_tag() const {
    for (size_t i = at_; (i = text_.find('{', i)) != std::string::npos; ++i) {
      const char next = i + 1 < text_.size() ? text_[i + 1] : ' ';
      if (next == '{' || next == '%' || next == '#') return i;
    }
    return std::string::npos;
  }

  // The text up to a tag, less what the tag strips.
  void add_text(size_t tag) {
    const size_t stop = std::min(tag, text_.size());
    std::string_view text = std::string_view(text_).substr(at_, stop - at_);
    if (tag != std::string::npos) {
      const char sign = tag + 2 < text_.size() ? text_[tag + 2] : ' ';
      if (sign == '-') {
        while (!text.empty() && is_white_space(character_before(text, text.size()).code)) {
          text.remove_suffix(character_before(text, text.size()).bytes);
        }
      } else if (sign != '+' && text_[tag + 1] != '{') {
        text = without_indent(text);
      }
    }
    if (!text.empty()) add(Token::Kind::text, std::string(text));
    advance(stop);
  }

  // lstrip_blocks: white space between the start of a line and a block or comment goes.
  std::string_view without_indent(std::string_view text) const {
    const size_t newline = text.rfind('\n');
    const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
    if (start == 0 && !at_line_start_) return text;
    for (size_t i = start; i < text.size(); i += character_at(text, i).bytes) {
      if (!is_white_space(character_at(text, i).code)) return text;
    }
    return text.substr(0, start);
  }

  // Behind a tag that ends with `sign`: "-" takes all white space, a block or comment one line end unless
  // "+".
  void end_tag(char sign, bool print) {
    const size_t begin = at_;
    size_t end = at_;
    if (sign == '-') {
      while (end < text_.size() && is_white_space(character_at(text_, end).code)) {
        end += character_at(text_, end).bytes;
      }
    } else if (!print && sign != '+' && end < text_.size() && text_[end] == '\n') {
      ++end;
    }
    at_line_start_ = end > begin && text_[end - 1] == '\n';
    advance(end);
  }

  void skip_comment() {
    const size_t close = text_.find("#}", at_);
    if (close == std::string::npos) fail_in_template(place_, line_, "#}", "the end of the template");
    const char sign = close > at_ ? text_[close - 1] : ' ';
    advance(close + 2);
    end_tag(sign, false);
  }

  void read_tag(bool print) {
    add(print ? Token::Kind::print_begin : Token::Kind::block_begin, print ? "{{" : "{%");
    const std::string_view close = print ? "}}" : "%}";
    std::string open;  // brackets yet to be closed: }} within {{ {'a': {}} }} does not end the tag
    for (;;) {
      while (at_ < text_.size() && is_white_space(character_at(text_, at_).code)) {
        advance(at_ + character_at(text_, at_).bytes);
      }
      if (at_ >= text_.size()) fail_in_template(place_, line_, std::string(close), "the end of the template");
      const std::string_view rest = std::string_view(text_).substr(at_);
      const bool sign = (rest[0] == '-' || (rest[0] == '+' && !print)) && rest.substr(1).starts_with(close);
      if (open.empty() && (sign || rest.starts_with(close))) {
        add(print ? Token::Kind::print_end : Token::Kind::block_end, std::string(close));
        advance(at_ + close.size() + (sign ? 1 : 0));
        return end_tag(sign ? rest[0] : ' ', print);
      }
      match_bracket(rest[0], open);
      read_token(rest);
    }
  }

  void match_bracket(char c, std::string& open) const {
    if (c == '(') open += ')';
    if (c == '[') open += ']';
    if (c == '{') open += '}';
    if (open.empty() || (c != ')' && c != ']' && c != '}')) return;
    if (c != open.back()) {
      fail_in_template(place_, line_, quote_value(open.substr(open.size() - 1)), quote_value({&c, 1}));
    }
    open.pop_back();
  }

  void read_token(std::string_view rest) {
    if (is_name_start(rest[0])) {
      size_t end = 1;
      while (end < rest.size() && (is_name_start(rest[end]) || is_digit(rest[end]))) ++end;
      add(Token::Kind::name, std::string(rest.substr(0, end)));
      at_ += end;
    } else if (is_digit(rest[0])) {
      read_number(rest);
    } else if (rest[0] == '\'' || rest[0] == '"') {
      read_string(rest[0]);
    } else {
      read_operator(rest);
    }
  }

  void read_number(std::string_view rest) {
    const auto digits_from = [rest](size_t at) {
      while (at < rest.size() && is_digit(rest[at])) ++at;
      return at;
    };
    size_t end = digits_from(0);
    bool real = false;
    if (end < rest.size() && rest[end] == '.' && digits_from(end + 1) > end + 1) {
      end = digits_from(end + 1);
      real = true;
    }
    if (end < rest.size() && (rest[end] == 'e' || rest[end] == 'E')) {
      const size_t sign = end + 1 < rest.size() && (rest[end + 1] == '+' || rest[end + 1] == '-') ? 1 : 0;
      const size_t exponent = end + 1 + sign;
      real = real || digits_from(exponent) > exponent;
      if (digits_from(exponent) > exponent) end = digits_from(exponent);
    }
    add(real ? Token::Kind::real : Token::Kind::integer, std::string(rest.substr(0, end)));
    at_ += end;
  }

  void read_operator(std::string_view rest) {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "==", "!=", ">=", "<=", "//", "**", "+", "-", "*", "/", "%", "~", "(",
        ")",  "[",  "]",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                    [rest](std::string_view op) { return rest.starts_with(op); });
    if (found == kOperators.end()) {
      fail_in_template(place_, line_, "an expression", quote_value(rest.substr(0, 1)));
    }
    add(Token::Kind::op, std::string(*found));
    at_ += found->size();
  }

  void read_string(char quote) {
    std::string value;
    size_t i = at_ + 1;
    for (; i < text_.size() && text_[i] != quote; ++i) {
      if (text_[i] == '\\' && i + 1 < text_.size()) {
        i = read_escape(i + 1, value);
      } else {
        value += text_[i];
      }
    }
    if (i >= text_.size()) fail_in_template(place_, line_, "the end of a string", "the end of the template");
    add(Token::Kind::string, std::move(value));
    advance(i + 1);
  }

  // Python's escapes; returns the place of the last character of it.
  size_t read_escape(size_t i, std::string& value) const {
    static constexpr std::string_view kNamed = "n\nt\tr\r\\\\''\"\"b\bf\fv\va\a";
    const char c = text_[i];
    for (size_t k = 0; k + 1 < kNamed.size(); k += 2) {
      if (kNamed[k] == c) {
        value += kNamed[k + 1];
        return i;
      }
    }
    if (c == '\n') return i;
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {
      value += '\\';
      value += c;
      return i;
    }
    const std::string hex = text_.substr(i + 1, digits);
    const bool valid =
        hex.size() == digits && hex.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
    const unsigned long code = valid ? std::stoul(hex, nullptr, 16) : ~0ul;
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      fail_in_template(place_, line_, "a character's number", quote_value("\\" + std::string(1, c) + hex));
    }
    value += utf8_of(static_cast<int32_t>(code));
    return i + digits;
  }

  std::string text_;
  const std::string& place_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  long line_ = 1;
  bool at_line_start_ = true;
};

}  // namespace

std::vector<Token> lex(std::string_view source, const std::string& place) {
  return Lexer(source, place).run();
}

void fail_in_template(const std::string& place, long line, const std::string& expected,
                      const std::string& found) {
  fail(ExitCode::model, {place, "chat_template line " + std::to_string(line), expected, found,
                         "use a template of the supported part of Jinja (docs/chat_templates.md)"});
}

}  // namespace gorgon::jinja
