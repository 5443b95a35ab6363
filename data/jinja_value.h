#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace gorgon::jinja {

// What goes wrong in an operation on values; the evaluator adds the place.
class ValueError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in order of insertion

// A value of a template, with Python's meaning of truth, equality, order and text. Lists and dictionaries are
// shared and do not change; a namespace is shared and does.
class Value {
 public:
  struct Undefined {
    std::string name;  // what was looked up
  };
  struct None {};
  struct Namespace {
    Dict members;
  };

  Value() : value_(Undefined{}) {}
  Value(Undefined undefined) : value_(std::move(undefined)) {}
  Value(None none) : value_(none) {}
  Value(bool truth) : value_(truth) {}
  Value(int64_t number) : value_(number) {}
  Value(double number) : value_(number) {}
  Value(std::string text) : value_(std::move(text)) {}
  Value(const char* text) : value_(std::string(text)) {}
  // Throw ValueError where they nest deeper than kDeepest or hold a namespace.
  Value(List list);
  Value(Dict dict);
  static Value make_namespace(Dict members);

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&value_);
  }
  const std::string* text() const { return std::get_if<std::string>(&value_); }
  const List* list() const;
  const Dict* dict() const;
  Namespace* name_space() const;
  bool undefined() const { return std::holds_alternative<Undefined>(value_); }
  bool none() const { return std::holds_alternative<None>(value_); }
  bool number() const;  // bool, integer or float

  bool truth() const;
  // str(): what {{ }} prints. Throws ValueError for lists and the like.
  std::string printed() const;
  // "a string", for messages.
  std::string kind() const;

  // Undefined where there is no such member; ValueError on an undefined value.
  Value member(const std::string& key) const;
  Value item(const Value& index) const;

  static constexpr int kDeepest = 64;

 private:
  struct Shared {
    List list;
    Dict dict;
    int depth = 1;
  };
  struct ListRef {
    std::shared_ptr<const Shared> shared;
  };
  struct DictRef {
    std::shared_ptr<const Shared> shared;
  };

  int depth() const;
  static int checked_depth(const Value& element);

  std::variant<Undefined, None, bool, int64_t, double, std::string, ListRef, DictRef,
               std::shared_ptr<Namespace>>
      value_;
};

// Python's operators; ValueError for operands that do not go together, overflow and division by zero.
bool equal(const Value& a, const Value& b);
bool less(const Value& a, const Value& b);
bool contains(const Value& container, const Value& element);
Value add(const Value& a, const Value& b);
Value arithmetic(const std::string& op, const Value& a, const Value& b);  // - * / // %
// container[begin:end:step]; undefined bounds are left out.
Value slice(const Value& container, const Value& begin, const Value& end, const Value& step);

// The elements that a loop goes over: of a list, the characters of a string, the keys of a dictionary.
List elements(const Value& value);

// json.dumps(value, ensure_ascii=False), indented by `indent` spaces a level where it is not negative.
std::string to_json(const Value& value, int indent);

// Characters of a text, each as a string.
std::vector<std::string> characters(std::string_view text);

}  // namespace gorgon::jinja
