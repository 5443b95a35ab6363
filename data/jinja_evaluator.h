#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "data/jinja_ast.h"
#include "data/jinja_builtins.h"

namespace gorgon::jinja {

struct Rendered {
  std::string text;
  std::vector<std::pair<int64_t, int64_t>> generation;  // bytes that {% generation %} blocks wrote
};

// Runs a parsed template once.
class Evaluator {
 public:
  // `place` is named in errors.
  explicit Evaluator(std::string place) : place_(std::move(place)) {}

  // Throws Error(data) for what the template raises and for values that do not fit, Error(model) where the
  // template runs for too long or writes too much.
  Rendered run(const Body& body, const Dict& variables);

 private:
  enum class Flow { on, leave, next };
  using Scope = std::map<std::string, Value>;

  Flow run_body(const Body& body);
  Flow run_statement(const Statement& statement);
  Flow run_branch(const Statement& statement);
  Flow run_loop(const Statement& statement);
  List elements_of(const Statement& statement);
  void run_set(const Statement& statement);
  void write(const std::string& text);
  void bind(const Statement& statement, const Value& element);

  Value evaluate(const Expression& expression);
  Value evaluate_here(const Expression& expression);
  Value evaluate_binary(const Expression& expression);
  bool evaluate_comparison(const Expression& expression);
  Value evaluate_call(const Expression& expression);
  Arguments arguments_of(const Expression& expression, size_t first);
  Value look_up(const std::string& name) const;
  void count_step(long line);

  std::string place_;
  std::vector<Scope> scopes_;
  Rendered out_;
  int64_t steps_ = 0;
};

}  // namespace gorgon::jinja
