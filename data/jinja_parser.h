#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "data/jinja_ast.h"
#include "data/jinja_lexer.h"

namespace gorgon::jinja {

// The tokens of a template as they are read, and how deep the grammar has gone into itself.
class TokenReader {
 public:
  TokenReader(std::vector<Token> tokens, std::string place)
      : tokens_(std::move(tokens)), place_(std::move(place)) {}

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool at_op(const char* op) const { return peek().kind == Token::Kind::op && peek().value == op; }
  bool at_name(const char* name) const { return peek().kind == Token::Kind::name && peek().value == name; }
  bool skip_op(const char* op) { return at_op(op) && (take(), true); }
  bool skip_name(const char* name) { return at_name(name) && (take(), true); }
  void expect_op(const char* op);
  std::string expect_name();
  [[noreturn]] void reject(const std::string& expected) const;

  // A level of nesting, bounded, since every level costs stack.
  class Level {
   public:
    explicit Level(TokenReader& reader);
    ~Level() { --reader_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    TokenReader& reader_;
  };

 private:
  std::vector<Token> tokens_;
  std::string place_;
  size_t at_ = 0;
  int depth_ = 0;
};

// An expression, by Jinja's grammar (jinja2/parser.py): conditional, or, and, not, comparison, + -, ~,
// * / // %, sign, and behind a value . [] () | is.
ExpressionPtr parse_expression(TokenReader& reader, bool with_conditional = true);

}  // namespace gorgon::jinja
