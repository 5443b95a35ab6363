#include <algorithm>
#include <charconv>

#include "data/jinja_builtins.h"
#include "data/jinja_parser.h"
#include "kernels/error.h"

namespace gorgon::jinja {

void TokenReader::expect_op(const char* op) {
  if (!skip_op(op)) reject("'" + std::string(op) + "'");
}

std::string TokenReader::expect_name() {
  if (peek().kind != Token::Kind::name) reject("a name");
  return take().value;
}

void TokenReader::reject(const std::string& expected) const {
  const Token& token = peek();
  const bool at_end = token.kind == Token::Kind::end;
  fail_in_template(place_, token.line, expected,
                   at_end ? "the end of the template" : quote_value(token.value));
}

TokenReader::Level::Level(TokenReader& reader) : reader_(reader) {
  constexpr int kDeepest = 100;
  if (++reader_.depth_ > kDeepest) {
    --reader_.depth_;
    reader_.reject("at most " + std::to_string(kDeepest) + " levels of nesting");
  }
}

namespace {

using Kind = Expression::Kind;
using Operators = std::initializer_list<const char*>;

ExpressionPtr make(Kind kind, long line, std::string text = "") {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->line = line;
  expression->text = std::move(text);
  return expression;
}

ExpressionPtr make_unary(Kind kind, long line, ExpressionPtr operand) {
  auto expression = make(kind, line);
  expression->operands.push_back(std::move(operand));
  return expression;
}

ExpressionPtr make_binary(Kind kind, long line, std::string text, ExpressionPtr left, ExpressionPtr right) {
  auto expression = make(kind, line, std::move(text));
  expression->operands.push_back(std::move(left));
  expression->operands.push_back(std::move(right));
  return expression;
}

ExpressionPtr parse_unary(TokenReader& reader, bool with_filters = true);

// A chain of operators that group from the left.
template <typename Next>
ExpressionPtr parse_chain(TokenReader& reader, Operators operators, const Next& next) {
  ExpressionPtr left = next(reader);
  for (;;) {
    const auto found =
        std::find_if(operators.begin(), operators.end(), [&](const char* op) { return reader.at_op(op); });
    if (found == operators.end()) return left;
    const long line = reader.take().line;
    left = make_binary(Kind::binary, line, *found, std::move(left), next(reader));
    if (reader.at_op("**")) reader.reject("no power");
  }
}

ExpressionPtr parse_products(TokenReader& reader) {
  return parse_chain(reader, {"*", "//", "/", "%"}, [](TokenReader& r) { return parse_unary(r); });
}
ExpressionPtr parse_joined(TokenReader& reader) {
  return parse_chain(reader, {"~"}, parse_products);
}
ExpressionPtr parse_sums(TokenReader& reader) {
  return parse_chain(reader, {"+", "-"}, parse_joined);
}

// The comparison that comes next, "" where there is none.
std::string take_comparison(TokenReader& reader) {
  for (const char* op : {"==", "!=", "<=", ">=", "<", ">"}) {
    if (reader.skip_op(op)) return op;
  }
  if (reader.skip_name("in")) return "in";
  if (reader.at_name("not") && reader.peek(1).kind == Token::Kind::name && reader.peek(1).value == "in") {
    reader.take();
    reader.take();
    return "not in";
  }
  return "";
}

ExpressionPtr parse_comparison(TokenReader& reader) {
  const long line = reader.peek().line;
  ExpressionPtr first = parse_sums(reader);
  std::string op = take_comparison(reader);
  if (op.empty()) return first;
  auto expression = make_unary(Kind::compare, line, std::move(first));
  for (; !op.empty(); op = take_comparison(reader)) {
    expression->ops.push_back(op);
    expression->operands.push_back(parse_sums(reader));
  }
  return expression;
}

ExpressionPtr parse_not(TokenReader& reader) {
  const TokenReader::Level level(reader);
  const long line = reader.peek().line;
  if (reader.skip_name("not")) return make_unary(Kind::negate, line, parse_not(reader));
  return parse_comparison(reader);
}

ExpressionPtr parse_and(TokenReader& reader) {
  ExpressionPtr left = parse_not(reader);
  while (reader.at_name("and")) {
    const long line = reader.take().line;
    left = make_binary(Kind::both, line, "and", std::move(left), parse_not(reader));
  }
  return left;
}

ExpressionPtr parse_or(TokenReader& reader) {
  ExpressionPtr left = parse_and(reader);
  while (reader.at_name("or")) {
    const long line = reader.take().line;
    left = make_binary(Kind::either, line, "or", std::move(left), parse_and(reader));
  }
  return left;
}

ExpressionPtr parse_number(const TokenReader& reader, const Token& token) {
  auto expression = make(Kind::literal, token.line);
  const char* begin = token.value.data();
  const char* end = begin + token.value.size();
  if (token.kind == Token::Kind::real) {
    double number = 0;
    if (std::from_chars(begin, end, number).ec != std::errc()) reader.reject("a number");
    expression->value = number;
  } else {
    int64_t number = 0;
    if (std::from_chars(begin, end, number).ec != std::errc()) reader.reject("a number of 64 bits");
    expression->value = number;
  }
  return expression;
}

ExpressionPtr parse_name(const Token& token) {
  const std::string& name = token.value;
  const bool is_true = name == "true" || name == "True";
  if (!is_true && name != "false" && name != "False" && name != "none" && name != "None") {
    return make(Kind::name, token.line, name);
  }
  auto expression = make(Kind::literal, token.line);
  expression->value = name == "none" || name == "None" ? Value(Value::None{}) : Value(is_true);
  return expression;
}

// Elements up to `close`, of a list or a tuple in brackets.
void parse_elements(TokenReader& reader, const char* close, Expression& list) {
  while (!reader.at_op(close)) {
    list.operands.push_back(parse_expression(reader));
    if (!reader.skip_op(",")) break;
  }
  reader.expect_op(close);
}

ExpressionPtr parse_parentheses(TokenReader& reader, long line) {
  if (reader.skip_op(")")) return make(Kind::list, line);
  ExpressionPtr first = parse_expression(reader);
  if (reader.skip_op(")")) return first;
  reader.expect_op(",");
  auto tuple = make_unary(Kind::list, line, std::move(first));
  parse_elements(reader, ")", *tuple);
  return tuple;
}

ExpressionPtr parse_dict(TokenReader& reader, long line) {
  auto dict = make(Kind::dict, line);
  while (!reader.at_op("}")) {
    dict->operands.push_back(parse_expression(reader));
    reader.expect_op(":");
    dict->operands.push_back(parse_expression(reader));
    if (!reader.skip_op(",")) break;
  }
  reader.expect_op("}");
  return dict;
}

ExpressionPtr parse_primary(TokenReader& reader) {
  switch (reader.peek().kind) {
    case Token::Kind::name:
      return parse_name(reader.take());
    case Token::Kind::integer:
    case Token::Kind::real:
      return parse_number(reader, reader.take());
    case Token::Kind::string: {
      auto expression = make(Kind::literal, reader.peek().line);
      std::string text;
      while (reader.peek().kind == Token::Kind::string) text += reader.take().value;
      expression->value = Value(std::move(text));
      return expression;
    }
    default:
      break;
  }
  const long line = reader.peek().line;
  if (reader.skip_op("(")) return parse_parentheses(reader, line);
  if (reader.skip_op("{")) return parse_dict(reader, line);
  if (!reader.skip_op("[")) reader.reject("an expression");
  auto list = make(Kind::list, line);
  parse_elements(reader, "]", *list);
  return list;
}

void parse_arguments(TokenReader& reader, Expression& call) {
  while (!reader.at_op(")")) {
    const Token& next = reader.peek(1);
    if (reader.peek().kind == Token::Kind::name && next.kind == Token::Kind::op && next.value == "=") {
      std::string name = reader.take().value;
      reader.take();
      call.keywords.emplace_back(std::move(name), parse_expression(reader));
    } else if (!call.keywords.empty()) {
      reader.reject("an argument with a name");
    } else {
      call.operands.push_back(parse_expression(reader));
    }
    if (!reader.skip_op(",")) break;
  }
  reader.expect_op(")");
}

ExpressionPtr parse_call(TokenReader& reader, ExpressionPtr callee) {
  if (callee->kind == Kind::name) {
    if (!known_function(callee->text))
      reader.reject("range, namespace or raise_exception instead of " + callee->text);
    callee->kind = Kind::call;
  } else if (callee->kind == Kind::member) {
    if (!known_method(callee->text)) {
      reader.reject("a method out of " + list_of_methods() + " instead of ." + callee->text);
    }
    callee->kind = Kind::method;
  } else {
    reader.reject("no call of a value");
  }
  reader.expect_op("(");
  parse_arguments(reader, *callee);
  return callee;
}

ExpressionPtr parse_subscript(TokenReader& reader, ExpressionPtr object) {
  const long line = reader.peek().line;
  reader.expect_op("[");
  auto expression = make_unary(Kind::item, line, std::move(object));
  bool slice = false;
  for (int bound = 0; bound < 3; ++bound) {
    const bool missing = reader.at_op(":") || reader.at_op("]");
    expression->operands.push_back(missing ? nullptr : parse_expression(reader));
    if (!reader.skip_op(":")) break;
    slice = true;
  }
  reader.expect_op("]");
  if (slice) {
    expression->kind = Kind::slice;
    expression->operands.resize(4);
  } else if (!expression->operands[1]) {
    reader.reject("an index");
  }
  return expression;
}

ExpressionPtr parse_postfix(TokenReader& reader, ExpressionPtr object) {
  for (;;) {
    const long line = reader.peek().line;
    if (reader.skip_op(".")) {
      if (reader.peek().kind == Token::Kind::integer) {
        auto index = parse_number(reader, reader.take());
        object = make_binary(Kind::item, line, "", std::move(object), std::move(index));
      } else {
        object = make_unary(Kind::member, line, std::move(object));
        object->text = reader.expect_name();
      }
    } else if (reader.at_op("[")) {
      object = parse_subscript(reader, std::move(object));
    } else if (reader.at_op("(")) {
      object = parse_call(reader, std::move(object));
    } else {
      return object;
    }
  }
}

ExpressionPtr parse_filter(TokenReader& reader, ExpressionPtr object) {
  const long line = reader.peek().line;
  if (reader.peek().kind != Token::Kind::name || !known_filter(reader.peek().value)) {
    reader.reject("a filter out of " + list_of_filters());
  }
  auto expression = make_unary(Kind::filter, line, std::move(object));
  expression->text = reader.take().value;
  if (reader.skip_op("(")) parse_arguments(reader, *expression);
  return expression;
}

// Behind "is": a test takes its one argument with or without parentheses.
ExpressionPtr parse_test(TokenReader& reader, ExpressionPtr object) {
  const long line = reader.peek().line;
  const bool negated = reader.skip_name("not");
  if (reader.peek().kind != Token::Kind::name || !known_test(reader.peek().value)) {
    reader.reject("a test out of " + list_of_tests());
  }
  auto expression = make_unary(Kind::test, line, std::move(object));
  expression->text = reader.take().value;
  const Token& next = reader.peek();
  const bool word = next.kind == Token::Kind::name && next.value != "else" && next.value != "or" &&
                    next.value != "and" && next.value != "is" && next.value != "if" && next.value != "in" &&
                    next.value != "not";
  const bool literal = next.kind == Token::Kind::string || next.kind == Token::Kind::integer ||
                       next.kind == Token::Kind::real || reader.at_op("[") || reader.at_op("{");
  if (reader.skip_op("(")) {
    parse_arguments(reader, *expression);
  } else if (word || literal) {
    expression->operands.push_back(parse_postfix(reader, parse_primary(reader)));
  }
  return negated ? make_unary(Kind::negate, line, std::move(expression)) : std::move(expression);
}

ExpressionPtr parse_unary(TokenReader& reader, bool with_filters) {
  const TokenReader::Level level(reader);
  const long line = reader.peek().line;
  ExpressionPtr expression;
  if (reader.skip_op("-")) {
    expression = make_unary(Kind::minus, line, parse_unary(reader, false));
  } else if (reader.skip_op("+")) {
    expression = parse_unary(reader, false);
  } else {
    expression = parse_primary(reader);
  }
  expression = parse_postfix(reader, std::move(expression));
  while (with_filters) {
    if (reader.skip_op("|")) {
      expression = parse_filter(reader, std::move(expression));
    } else if (reader.skip_name("is")) {
      expression = parse_test(reader, std::move(expression));
    } else if (reader.at_op("(")) {
      reader.reject("no call of a value");
    } else {
      break;
    }
  }
  return expression;
}

}  // namespace

ExpressionPtr parse_expression(TokenReader& reader, bool with_conditional) {
  const TokenReader::Level level(reader);
  ExpressionPtr expression = parse_or(reader);
  while (with_conditional && reader.at_name("if")) {
    const long line = reader.take().line;
    auto conditional = make_unary(Kind::conditional, line, parse_or(reader));
    conditional->operands.push_back(std::move(expression));
    conditional->operands.push_back(reader.skip_name("else") ? parse_expression(reader) : nullptr);
    expression = std::move(conditional);
  }
  return expression;
}

}  // namespace gorgon::jinja
