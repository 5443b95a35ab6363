#include "data/jinja_evaluator.h"
#include "kernels/error.h"

namespace gorgon::jinja {

using Kind = Expression::Kind;

Value Evaluator::evaluate(const Expression& expression) {
  count_step(expression.line);
  try {
    return evaluate_here(expression);
  } catch (const ValueError& error) {
    fail(ExitCode::data, {place_, "chat_template line " + std::to_string(expression.line), "values that fit",
                          error.what(), "the messages do not fit the model's template"});
  }
}

Value Evaluator::evaluate_here(const Expression& expression) {
  const auto& operands = expression.operands;
  const auto operand = [&](size_t i) {
    return i < operands.size() && operands[i] ? evaluate(*operands[i]) : Value();
  };
  switch (expression.kind) {
    case Kind::literal:
      return expression.value;
    case Kind::name:
      return look_up(expression.text);
    case Kind::list:
      return arguments_of(expression, 0).positional;
    case Kind::dict: {
      Dict dict;
      for (size_t i = 0; i + 1 < operands.size(); i += 2) {
        const Value key = operand(i);
        if (!key.text()) throw ValueError(key.kind() + " as a key");
        dict.emplace_back(*key.text(), operand(i + 1));
      }
      return dict;
    }
    case Kind::member:
      return operand(0).member(expression.text);
    case Kind::item:
      return operand(0).item(operand(1));
    case Kind::slice:
      return slice(operand(0), operand(1), operand(2), operand(3));
    case Kind::call:
      return evaluate_call(expression);
    case Kind::method:
      return call_method(expression.text, operand(0), arguments_of(expression, 1));
    case Kind::filter:
      return call_filter(expression.text, operand(0), arguments_of(expression, 1));
    case Kind::test:
      return call_test(expression.text, operand(0), arguments_of(expression, 1));
    case Kind::negate:
      return !operand(0).truth();
    case Kind::minus:
      return arithmetic("-", int64_t{0}, operand(0));
    case Kind::binary:
      return evaluate_binary(expression);
    case Kind::compare:
      return evaluate_comparison(expression);
    case Kind::both: {
      Value left = operand(0);
      return left.truth() ? operand(1) : left;
    }
    case Kind::either: {
      Value left = operand(0);
      return left.truth() ? left : operand(1);
    }
    case Kind::conditional:
      return operand(operand(0).truth() ? 1 : 2);
  }
  return {};
}

Value Evaluator::evaluate_binary(const Expression& expression) {
  const Value left = evaluate(*expression.operands[0]);
  const Value right = evaluate(*expression.operands[1]);
  Value result;
  if (expression.text == "~") {
    result = left.printed() + right.printed();
  } else {
    result = expression.text == "+" ? add(left, right) : arithmetic(expression.text, left, right);
  }
  // A text that doubles with every pass of a loop grows past any memory in a few dozen passes.
  constexpr size_t kLongest = size_t{1} << 26;
  const bool long_text = result.text() && result.text()->size() > kLongest;
  const bool long_list = result.list() && result.list()->size() > kLongest / sizeof(Value);
  if (long_text || long_list) throw ValueError("a value of more than 64 MiB");
  return result;
}

bool Evaluator::evaluate_comparison(const Expression& expression) {
  Value left = evaluate(*expression.operands[0]);
  for (size_t i = 0; i < expression.ops.size(); ++i) {
    const std::string& op = expression.ops[i];
    Value right = evaluate(*expression.operands[i + 1]);
    bool holds = false;
    if (op == "==" || op == "!=") holds = equal(left, right) == (op == "==");
    if (op == "<") holds = less(left, right);
    if (op == ">") holds = less(right, left);
    if (op == "<=") holds = less(left, right) || equal(left, right);
    if (op == ">=") holds = less(right, left) || equal(left, right);
    if (op == "in" || op == "not in") holds = contains(right, left) == (op == "in");
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Arguments Evaluator::arguments_of(const Expression& expression, size_t first) {
  Arguments arguments;
  for (size_t i = first; i < expression.operands.size(); ++i) {
    arguments.positional.push_back(evaluate(*expression.operands[i]));
  }
  for (const auto& [name, value] : expression.keywords)
    arguments.keywords.emplace_back(name, evaluate(*value));
  return arguments;
}

Value Evaluator::evaluate_call(const Expression& expression) {
  Arguments arguments = arguments_of(expression, 0);
  if (expression.text == "range") return range(arguments);
  if (expression.text == "namespace") return Value::make_namespace(std::move(arguments.keywords));
  if (expression.text == "raise_exception") {
    fail(ExitCode::data, {place_, "chat_template line " + std::to_string(expression.line), "",
                          quote_value(arguments.get(0, "message").printed()),
                          "the messages do not fit the model's template"});
  }
  throw ValueError("a call of " + look_up(expression.text).kind());
}

}  // namespace gorgon::jinja
