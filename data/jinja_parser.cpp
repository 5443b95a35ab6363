#include "data/jinja_parser.h"

#include <algorithm>

#include "data/jinja_ast.h"

namespace gorgon::jinja {
namespace {

class Parser {
 public:
  explicit Parser(TokenReader reader) : reader_(std::move(reader)) {}

  Body run() {
    Body body = parse_body({});
    if (reader_.peek().kind != Token::Kind::end) reader_.reject("a statement");
    return body;
  }

 private:
  using Kind = Statement::Kind;

  std::unique_ptr<Statement> make(Kind kind) {
    auto statement = std::make_unique<Statement>();
    statement->kind = kind;
    statement->line = reader_.peek().line;
    return statement;
  }

  void end_block() {
    if (reader_.peek().kind != Token::Kind::block_end) reader_.reject("%}");
    reader_.take();
  }

  // Statements up to a block that begins with one of `ends`, whose {% is taken, its name not.
  Body parse_body(const std::vector<std::string>& ends) {
    const TokenReader::Level level(reader_);
    Body body;
    for (;;) {
      auto statement = make(Kind::text);
      if (reader_.peek().kind == Token::Kind::text) {
        statement->text = reader_.take().value;
      } else if (reader_.peek().kind == Token::Kind::print_begin) {
        reader_.take();
        statement->kind = Kind::print;
        statement->expressions.push_back(parse_expression(reader_));
        if (reader_.peek().kind != Token::Kind::print_end) reader_.reject("}}");
        reader_.take();
      } else if (reader_.peek().kind == Token::Kind::block_begin) {
        reader_.take();
        if (std::find(ends.begin(), ends.end(), reader_.peek().value) != ends.end()) return body;
        statement = parse_block();
      } else if (ends.empty()) {
        return body;
      } else {
        reader_.reject("{% " + ends.back() + " %}");
      }
      body.push_back(std::move(statement));
    }
  }

  std::unique_ptr<Statement> parse_block() {
    if (reader_.skip_name("if")) return parse_if();
    if (reader_.skip_name("for")) return parse_for();
    if (reader_.skip_name("set")) return parse_set();
    if (reader_.skip_name("generation")) {
      auto statement = make(Kind::generation);
      end_block();
      statement->bodies.push_back(parse_body({"endgeneration"}));
      reader_.take();
      end_block();
      return statement;
    }
    const bool leave = reader_.at_name("break");
    if (loops_ > 0 && (leave || reader_.at_name("continue"))) {
      auto statement = make(leave ? Kind::leave : Kind::next);
      reader_.take();
      end_block();
      return statement;
    }
    reader_.reject("a statement out of if, for, set, generation, break and continue");
  }

  std::unique_ptr<Statement> parse_if() {
    auto statement = make(Kind::branch);
    for (;;) {
      statement->expressions.push_back(parse_expression(reader_));
      end_block();
      statement->bodies.push_back(parse_body({"elif", "else", "endif"}));
      if (!reader_.skip_name("elif")) break;
    }
    if (reader_.skip_name("else")) {
      end_block();
      statement->bodies.push_back(parse_body({"endif"}));
    }
    reader_.take();
    end_block();
    return statement;
  }

  std::unique_ptr<Statement> parse_for() {
    auto statement = make(Kind::loop);
    do {
      statement->names.push_back(reader_.expect_name());
    } while (reader_.skip_op(","));
    if (!reader_.skip_name("in")) reader_.reject("in");
    statement->expressions.push_back(parse_expression(reader_, false));
    statement->expressions.push_back(reader_.skip_name("if") ? parse_expression(reader_) : nullptr);
    end_block();
    ++loops_;
    statement->bodies.push_back(parse_body({"else", "endfor"}));
    --loops_;
    if (reader_.skip_name("else")) {
      end_block();
      statement->bodies.push_back(parse_body({"endfor"}));
    }
    reader_.take();
    end_block();
    return statement;
  }

  std::unique_ptr<Statement> parse_set() {
    auto statement = make(Kind::set);
    statement->names.push_back(reader_.expect_name());
    if (reader_.skip_op(".")) statement->names.push_back(reader_.expect_name());
    if (reader_.skip_op("=")) {
      statement->expressions.push_back(parse_expression(reader_));
      end_block();
      return statement;
    }
    if (statement->names.size() > 1) reader_.reject("=");
    statement->kind = Kind::capture;
    end_block();
    statement->bodies.push_back(parse_body({"endset"}));
    reader_.take();
    end_block();
    return statement;
  }

  TokenReader reader_;
  int loops_ = 0;
};

}  // namespace

Body parse(std::string_view source, const std::string& place) {
  return Parser(TokenReader(lex(source, place), place)).run();
}

}  // namespace gorgon::jinja
