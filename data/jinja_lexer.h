#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gorgon::jinja {

struct Token {
  enum class Kind {
    text,         // what stands between tags
    print_begin,  // {{
    print_end,    // }}
    block_begin,  // {%
    block_end,    // %}
    name,
    integer,
    real,
    string,  // without quotes, escapes resolved
    op,
    end,
  };
  Kind kind;
  std::string value;
  long line;  // of the template, from 1
};

// Cuts a template into tokens, white space around tags treated as transformers sets it: trim_blocks,
// lstrip_blocks, no keep_trailing_newline; "-" and "+" within tags as Jinja defines them. `place` is named in
// errors, Error(model).
std::vector<Token> lex(std::string_view source, const std::string& place);

[[noreturn]] void fail_in_template(const std::string& place, long line, const std::string& expected,
                                   const std::string& found);

}  // namespace gorgon::jinja
