#include <algorithm>
#include <cmath>
#include <limits>

#include "data/jinja_value.h"

namespace gorgon::jinja {
namespace {

double as_double(const Value& value) {
  if (const auto* truth = value.as<bool>()) return *truth ? 1 : 0;
  if (const auto* number = value.as<int64_t>()) return static_cast<double>(*number);
  return *value.as<double>();
}

int64_t as_integer(const Value& value) {
  const auto* truth = value.as<bool>();
  return truth ? (*truth ? 1 : 0) : *value.as<int64_t>();
}

[[noreturn]] void do_not_go(const std::string& op, const Value& a, const Value& b) {
  throw ValueError(a.kind() + " " + op + " " + b.kind());
}

Value integer_arithmetic(const std::string& op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") overflow = __builtin_add_overflow(a, b, &result);
  if (op == "-") overflow = __builtin_sub_overflow(a, b, &result);
  if (op == "*") overflow = __builtin_mul_overflow(a, b, &result);
  if (op == "//" || op == "%") {
    if (b == 0) throw ValueError("division by zero");
    if (a == std::numeric_limits<int64_t>::min() && b == -1) throw ValueError("an integer too large");
    const int64_t remainder = a % b;
    const bool below = remainder != 0 && (remainder < 0) != (b < 0);  // Python rounds down
    result = op == "%" ? remainder + (below ? b : 0) : a / b - (below ? 1 : 0);
  }
  if (overflow) throw ValueError("an integer too large");
  return result;
}

Value float_arithmetic(const std::string& op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (b == 0) throw ValueError("division by zero");
  if (op == "/") return a / b;
  if (op == "//") return std::floor(a / b);
  return a - b * std::floor(a / b);
}

Value repeated(const std::string& text, int64_t times) {
  constexpr size_t kLongest = 1 << 24;
  std::string out;
  for (int64_t i = 0; i < times && !text.empty(); ++i) {
    out += text;
    if (out.size() > kLongest) throw ValueError("a string of more than 16 MiB");
  }
  return out;
}

}  // namespace

bool equal(const Value& a, const Value& b) {
  if (a.number() && b.number()) return as_double(a) == as_double(b);
  if (a.text() && b.text()) return *a.text() == *b.text();
  if (a.list() && b.list()) {
    return std::equal(a.list()->begin(), a.list()->end(), b.list()->begin(), b.list()->end(), equal);
  }
  if (a.dict() && b.dict()) {
    const auto matches = [&b](const auto& member) {
      const Value other = b.member(member.first);
      return !other.undefined() && equal(member.second, other);
    };
    return a.dict()->size() == b.dict()->size() && std::all_of(a.dict()->begin(), a.dict()->end(), matches);
  }
  return (a.none() && b.none()) || (a.undefined() && b.undefined());
}

bool less(const Value& a, const Value& b) {
  if (a.number() && b.number()) return as_double(a) < as_double(b);
  if (a.text() && b.text()) return *a.text() < *b.text();
  do_not_go("<", a, b);
}

bool contains(const Value& container, const Value& element) {
  if (container.text()) {
    if (!element.text()) do_not_go("in", element, container);
    return container.text()->find(*element.text()) != std::string::npos;
  }
  if (container.none() || container.number()) do_not_go("in", element, container);
  const List all = elements(container);
  return std::any_of(all.begin(), all.end(), [&](const Value& each) { return equal(each, element); });
}

Value add(const Value& a, const Value& b) {
  if (a.text() && b.text()) return *a.text() + *b.text();
  if (a.list() && b.list()) {
    List joined = *a.list();
    joined.insert(joined.end(), b.list()->begin(), b.list()->end());
    return joined;
  }
  return arithmetic("+", a, b);
}

Value arithmetic(const std::string& op, const Value& a, const Value& b) {
  if (op == "*" && a.text() && b.as<int64_t>()) return repeated(*a.text(), *b.as<int64_t>());
  if (!a.number() || !b.number()) do_not_go(op, a, b);
  if (a.as<double>() || b.as<double>() || op == "/") return float_arithmetic(op, as_double(a), as_double(b));
  return integer_arithmetic(op, as_integer(a), as_integer(b));
}

Value slice(const Value& container, const Value& begin, const Value& end, const Value& step) {
  if (!container.list() && !container.text()) throw ValueError("a slice of " + container.kind());
  const List all = elements(container);
  const auto size = static_cast<int64_t>(all.size());
  const auto integer = [](const Value& value, int64_t otherwise) {
    if (value.undefined() || value.none()) return otherwise;
    if (!value.as<int64_t>()) throw ValueError("a slice by " + value.kind());
    return *value.as<int64_t>();
  };
  const int64_t by = integer(step, 1);
  if (by == 0) throw ValueError("a slice with step 0");
  // Python's slice.indices.
  const int64_t lowest = by > 0 ? 0 : -1;
  const int64_t highest = by > 0 ? size : size - 1;
  const auto bound = [&](const Value& value, int64_t otherwise) {
    const int64_t given = integer(value, otherwise);
    if (value.undefined() || value.none()) return otherwise;
    return std::clamp(given < 0 ? (given < -size ? lowest : given + size) : given, lowest, highest);
  };
  const int64_t first = bound(begin, by > 0 ? lowest : highest);
  const int64_t last = bound(end, by > 0 ? highest : lowest);
  List out;
  for (int64_t i = first; by > 0 ? i < last : i > last;) {
    out.push_back(all[static_cast<size_t>(i)]);
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  if (container.list()) return out;
  std::string text;
  for (const Value& character : out) text += *character.text();
  return text;
}

}  // namespace gorgon::jinja
