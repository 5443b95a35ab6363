#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/jinja_value.h"

namespace gorgon::jinja {

struct Expression {
  enum class Kind {
    literal,      // value
    name,         // text
    list,         // operands
    dict,         // operands: key, value, key, value ...
    member,       // operands[0].text
    item,         // operands[0][operands[1]]
    slice,        // operands[0][1:2:3]; missing bounds are null
    call,         // function `text`: operands, keywords
    method,       // operands[0].text(operands from 1, keywords)
    filter,       // operands[0] | text(operands from 1, keywords)
    test,         // operands[0] is text(operands from 1)
    negate,       // "not"
    minus,        // "-"
    binary,       // operands[0] text operands[1]: arithmetic, ~
    compare,      // operands[0] ops[0] operands[1] ops[1] operands[2] ...
    both,         // "and"
    either,       // "or"
    conditional,  // operands[1] if operands[0] else operands[2] (may be null)
  };
  Kind kind;
  long line;
  std::string text;
  Value value;
  std::vector<std::unique_ptr<Expression>> operands;
  std::vector<std::string> ops;
  std::vector<std::pair<std::string, std::unique_ptr<Expression>>> keywords;
};
using ExpressionPtr = std::unique_ptr<Expression>;

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

struct Statement {
  enum class Kind {
    text,        // text
    print,       // expressions[0]
    branch,      // if: bodies[i] when expressions[i]; a body more is the else
    loop,        // for names in expressions[0] if expressions[1] (may be null): bodies[0], else bodies[1]
    set,         // names[0] or names[0].names[1] = expressions[0]
    capture,     // set names[0] to the text of bodies[0]
    generation,  // bodies[0] is what the assistant wrote
    leave,       // break
    next,        // continue
  };
  Kind kind;
  long line;
  std::string text;
  std::vector<std::string> names;
  std::vector<ExpressionPtr> expressions;
  std::vector<Body> bodies;
};

// Throws Error(model) naming what is beyond the supported part of Jinja.
Body parse(std::string_view source, const std::string& place);

}  // namespace gorgon::jinja
