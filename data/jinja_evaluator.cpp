#include "data/jinja_evaluator.h"

#include "kernels/error.h"

namespace gorgon::jinja {
namespace {

constexpr int64_t kMostSteps = 2'000'000;
constexpr size_t kLongestText = size_t{1} << 26;

std::string line_of(long line) {
  return "chat_template line " + std::to_string(line);
}

// The variable `loop` of a pass through a loop.
Value loop_variable(const List& all, size_t index) {
  const auto i = static_cast<int64_t>(index);
  const auto count = static_cast<int64_t>(all.size());
  Dict loop = {{"index", i + 1},        {"index0", i},
               {"revindex", count - i}, {"revindex0", count - i - 1},
               {"first", i == 0},       {"last", i + 1 == count},
               {"length", count}};
  if (index > 0) loop.emplace_back("previtem", all[index - 1]);
  if (index + 1 < all.size()) loop.emplace_back("nextitem", all[index + 1]);
  return loop;
}

}  // namespace

Rendered Evaluator::run(const Body& body, const Dict& variables) {
  scopes_.assign(1, Scope(variables.begin(), variables.end()));
  out_ = {};
  steps_ = 0;
  run_body(body);
  return std::move(out_);
}

void Evaluator::count_step(long line) {
  if (++steps_ <= kMostSteps && out_.text.size() <= kLongestText) return;
  const std::string bounds =
      std::to_string(kMostSteps) + " steps and " + std::to_string(kLongestText) + " bytes";
  fail(ExitCode::model, {place_, line_of(line), "at most " + bounds, "more", "mend the template"});
}

void Evaluator::write(const std::string& text) {
  out_.text += text;
}

Evaluator::Flow Evaluator::run_body(const Body& body) {
  for (const auto& statement : body) {
    const Flow flow = run_statement(*statement);
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

Evaluator::Flow Evaluator::run_statement(const Statement& statement) {
  count_step(statement.line);
  switch (statement.kind) {
    case Statement::Kind::text:
      write(statement.text);
      return Flow::on;
    case Statement::Kind::print: {
      const Expression& expression = *statement.expressions[0];
      const Value value = evaluate(expression);
      if (value.list() || value.dict() || value.name_space()) {
        fail(ExitCode::data, {place_, line_of(statement.line), "something to print", value.kind(),
                              "the messages do not fit the model's template"});
      }
      write(value.printed());
      return Flow::on;
    }
    case Statement::Kind::branch:
      return run_branch(statement);
    case Statement::Kind::loop:
      return run_loop(statement);
    case Statement::Kind::set:
    case Statement::Kind::capture:
      run_set(statement);
      return Flow::on;
    case Statement::Kind::generation: {
      const auto begin = static_cast<int64_t>(out_.text.size());
      scopes_.emplace_back();
      const Flow flow = run_body(statement.bodies[0]);
      scopes_.pop_back();
      const auto end = static_cast<int64_t>(out_.text.size());
      if (end > begin) out_.generation.emplace_back(begin, end);
      return flow;
    }
    case Statement::Kind::leave:
      return Flow::leave;
    case Statement::Kind::next:
      return Flow::next;
  }
  return Flow::on;
}

Evaluator::Flow Evaluator::run_branch(const Statement& statement) {
  for (size_t i = 0; i < statement.expressions.size(); ++i) {
    if (evaluate(*statement.expressions[i]).truth()) return run_body(statement.bodies[i]);
  }
  const bool otherwise = statement.bodies.size() > statement.expressions.size();
  return otherwise ? run_body(statement.bodies.back()) : Flow::on;
}

void Evaluator::bind(const Statement& statement, const Value& element) {
  if (statement.names.size() == 1) {
    scopes_.back()[statement.names[0]] = element;
    return;
  }
  const List parts = elements(element);
  if (parts.size() != statement.names.size()) {
    throw ValueError(std::to_string(parts.size()) + " values for " + std::to_string(statement.names.size()) +
                     " names");
  }
  for (size_t i = 0; i < parts.size(); ++i) scopes_.back()[statement.names[i]] = parts[i];
}

// The elements that a loop goes over, those that its filter leaves.
List Evaluator::elements_of(const Statement& statement) {
  const Value over = evaluate(*statement.expressions[0]);
  List all = elements(over);
  const Expression* filter = statement.expressions[1].get();
  if (!filter) return all;
  std::erase_if(all, [&](const Value& element) {
    scopes_.emplace_back();
    bind(statement, element);
    const bool taken = evaluate(*filter).truth();
    scopes_.pop_back();
    return !taken;
  });
  return all;
}

Evaluator::Flow Evaluator::run_loop(const Statement& statement) {
  try {
    const List all = elements_of(statement);
    if (all.empty()) return statement.bodies.size() > 1 ? run_body(statement.bodies[1]) : Flow::on;
    for (size_t i = 0; i < all.size(); ++i) {
      count_step(statement.line);
      scopes_.emplace_back();
      bind(statement, all[i]);
      scopes_.back()["loop"] = loop_variable(all, i);
      const Flow flow = run_body(statement.bodies[0]);
      scopes_.pop_back();
      if (flow == Flow::leave) break;
    }
  } catch (const ValueError& error) {
    fail(ExitCode::data, {place_, line_of(statement.line), "a loop", error.what(),
                          "the messages do not fit the model's template"});
  }
  return Flow::on;
}

void Evaluator::run_set(const Statement& statement) {
  if (statement.kind == Statement::Kind::capture) {
    std::string before;
    before.swap(out_.text);
    scopes_.emplace_back();
    run_body(statement.bodies[0]);
    scopes_.pop_back();
    before.swap(out_.text);
    scopes_.back()[statement.names[0]] = Value(std::move(before));
    return;
  }
  Value value = evaluate(*statement.expressions[0]);
  if (statement.names.size() == 1) {
    scopes_.back()[statement.names[0]] = std::move(value);
    return;
  }
  const Value target = look_up(statement.names[0]);
  Value::Namespace* name_space = target.name_space();
  if (!name_space || value.name_space()) {
    fail(ExitCode::data, {place_, line_of(statement.line), "a member of a namespace",
                          (name_space ? value : target).kind(), "use the model's own template"});
  }
  for (auto& [name, member] : name_space->members) {
    if (name == statement.names[1]) {
      member = std::move(value);
      return;
    }
  }
  name_space->members.emplace_back(statement.names[1], std::move(value));
}

Value Evaluator::look_up(const std::string& name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->find(name);
    if (found != scope->end()) return found->second;
  }
  return Value::Undefined{name};
}

}  // namespace gorgon::jinja
