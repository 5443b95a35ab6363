#include "data/jinja_builtins.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>

#include <utf8proc.h>

#include "data/unicode.h"

namespace gorgon::jinja {
namespace {

using Method = Value (*)(const Value& self, const Arguments& arguments);

const std::string& text_of(const Value& value, const char* what) {
  if (!value.text()) throw ValueError(std::string(what) + " of " + value.kind());
  return *value.text();
}

// str.isspace of Python: White_Space and the four separators of ASCII.
bool is_python_space(const std::string& character) {
  const int32_t code = character_at(character, 0).code;
  return is_white_space(code) || (code >= 0x1C && code <= 0x1F);
}

std::string stripped(const Value& self, const Arguments& arguments, bool left, bool right) {
  const std::vector<std::string> all = characters(text_of(self, "strip"));
  const Value set = arguments.get(0, "chars");
  const std::vector<std::string> given =
      set.undefined() || set.none() ? std::vector<std::string>() : characters(text_of(set, "strip"));
  const auto goes = [&](const std::string& character) {
    if (set.undefined() || set.none()) return is_python_space(character);
    return std::find(given.begin(), given.end(), character) != given.end();
  };
  size_t begin = 0;
  size_t end = all.size();
  while (left && begin < end && goes(all[begin])) ++begin;
  while (right && begin < end && goes(all[end - 1])) --end;
  std::string out;
  for (size_t i = begin; i < end; ++i) out += all[i];
  return out;
}

std::string in_case(const std::string& text, utf8proc_int32_t (*first)(utf8proc_int32_t),
                    utf8proc_int32_t (*rest)(utf8proc_int32_t), bool every_word) {
  std::string out;
  bool start = true;
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    out += utf8_of(start ? first(character.code) : rest(character.code));
    const int category = utf8proc_category(character.code);
    const bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    start = every_word && !letter;
    at += character.bytes;
  }
  return out;
}

Value split(const Value& self, const Arguments& arguments) {
  const std::string& text = text_of(self, "split");
  const Value separator = arguments.get(0, "sep");
  const Value most = arguments.get(1, "maxsplit");
  if (!most.undefined() && !most.as<int64_t>()) throw ValueError("split by " + most.kind());
  int64_t left = most.undefined() || *most.as<int64_t>() < 0 ? INT64_MAX : *most.as<int64_t>();
  List parts;
  size_t begin = 0;
  if (separator.undefined() || separator.none()) {
    if (!most.undefined()) throw ValueError("split with maxsplit and no separator");
    std::string word;
    for (const std::string& character : characters(text)) {
      if (!is_python_space(character)) {
        word += character;
      } else if (!word.empty()) {
        parts.emplace_back(std::move(word));
        word.clear();
      }
    }
    if (!word.empty()) parts.emplace_back(std::move(word));
    return parts;
  }
  const std::string& mark = text_of(separator, "split");
  if (mark.empty()) throw ValueError("split by an empty string");
  for (size_t at; left > 0 && (at = text.find(mark, begin)) != std::string::npos; --left) {
    parts.emplace_back(text.substr(begin, at - begin));
    begin = at + mark.size();
  }
  parts.emplace_back(text.substr(begin));
  return parts;
}

Value replace(const Value& self, const Arguments& arguments) {
  const std::string& text = text_of(self, "replace");
  const std::string from = text_of(arguments.get(0, "old"), "replace");
  const std::string to = text_of(arguments.get(1, "new"), "replace");
  if (from.empty()) throw ValueError("replace of an empty string");
  constexpr size_t kLongest = 1 << 26;
  std::string out;
  size_t done = 0;
  for (size_t at; (at = text.find(from, done)) != std::string::npos; done = at + from.size()) {
    out.append(text, done, at - done);
    out += to;
    if (out.size() > kLongest) throw ValueError("a string of more than 64 MiB");
  }
  return out.append(text, done);
}

// True if one of the texts (a string, or a list of them) is at the start or end.
bool borders(const Value& self, const Arguments& arguments, bool start) {
  const std::string& text = text_of(self, start ? "startswith" : "endswith");
  const Value given = arguments.get(0, "prefix");
  const List all = given.list() ? *given.list() : List{given};
  return std::any_of(all.begin(), all.end(), [&](const Value& each) {
    const std::string& part = text_of(each, "startswith or endswith");
    return start ? text.starts_with(part) : text.ends_with(part);
  });
}

Value join(const std::string& separator, const Value& list) {
  std::string out;
  bool first = true;
  for (const Value& each : elements(list)) {
    if (!first) out += separator;
    out += each.printed();
    first = false;
  }
  return out;
}

Value members(const Value& self, bool keys, bool values) {
  if (!self.dict()) throw ValueError("items of " + self.kind());
  List out;
  for (const auto& [key, value] : *self.dict()) {
    if (keys && values) {
      out.emplace_back(List{key, value});
    } else {
      out.push_back(keys ? Value(key) : value);
    }
  }
  return out;
}

Value length(const Value& value) {
  if (value.text()) return static_cast<int64_t>(characters(*value.text()).size());
  if (!value.list() && !value.dict() && !value.undefined()) throw ValueError("the length of " + value.kind());
  return static_cast<int64_t>(elements(value).size());
}

Value to_integer(const Value& value) {
  if (value.as<int64_t>()) return value;
  if (const auto* truth = value.as<bool>()) return int64_t{*truth};
  if (value.as<double>()) return static_cast<int64_t>(std::clamp(*value.as<double>(), -9e18, 9e18));
  int64_t number = 0;
  if (value.text()) {
    const std::string text = stripped(value, {}, true, true);
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec != std::errc() || read.ptr != text.data() + text.size()) number = 0;
  }
  return number;
}

Value end_of(const Value& value, bool first) {
  const List all = elements(value);
  if (all.empty()) return Value::Undefined{first ? "first" : "last"};
  return first ? all.front() : all.back();
}

Value json_of(const Value& value, const Arguments& arguments) {
  const Value indent = arguments.get(0, "indent");
  if (indent.undefined() || indent.none()) return to_json(value, -1);
  if (!indent.as<int64_t>()) throw ValueError("an indent of " + indent.kind());
  return to_json(value, static_cast<int>(std::clamp<int64_t>(*indent.as<int64_t>(), 0, 16)));
}

Value defaulted(const Value& value, const Arguments& arguments) {
  const bool falsy_too = arguments.get(1, "boolean").truth();
  const Value otherwise = arguments.get(0, "default_value");
  if (!value.undefined() && (!falsy_too || value.truth())) return value;
  return otherwise.undefined() ? Value("") : otherwise;
}

Value reversed(const Value& value) {
  List all = elements(value);
  std::reverse(all.begin(), all.end());
  return all;
}

const std::map<std::string, Method>& methods() {
  static const std::map<std::string, Method> all = {
      {"strip", [](const Value& v, const Arguments& a) -> Value { return stripped(v, a, true, true); }},
      {"lstrip", [](const Value& v, const Arguments& a) -> Value { return stripped(v, a, true, false); }},
      {"rstrip", [](const Value& v, const Arguments& a) -> Value { return stripped(v, a, false, true); }},
      {"upper",
       [](const Value& v, const Arguments&) -> Value {
         return in_case(text_of(v, "upper"), utf8proc_toupper, utf8proc_toupper, false);
       }},
      {"lower",
       [](const Value& v, const Arguments&) -> Value {
         return in_case(text_of(v, "lower"), utf8proc_tolower, utf8proc_tolower, false);
       }},
      {"title",
       [](const Value& v, const Arguments&) -> Value {
         return in_case(text_of(v, "title"), utf8proc_totitle, utf8proc_tolower, true);
       }},
      {"capitalize",
       [](const Value& v, const Arguments&) -> Value {
         return in_case(text_of(v, "capitalize"), utf8proc_totitle, utf8proc_tolower, false);
       }},
      {"startswith", [](const Value& v, const Arguments& a) -> Value { return borders(v, a, true); }},
      {"endswith", [](const Value& v, const Arguments& a) -> Value { return borders(v, a, false); }},
      {"split", split},
      {"replace", replace},
      {"join",
       [](const Value& v, const Arguments& a) { return join(text_of(v, "join"), a.get(0, "iterable")); }},
      {"items", [](const Value& v, const Arguments&) { return members(v, true, true); }},
      {"keys", [](const Value& v, const Arguments&) { return members(v, true, false); }},
      {"values", [](const Value& v, const Arguments&) { return members(v, false, true); }},
      {"get",
       [](const Value& v, const Arguments& a) {
         if (!v.dict()) throw ValueError("get of " + v.kind());
         Value found = v.member(text_of(a.get(0, "key"), "get"));
         const Value otherwise = a.get(1, "default");
         if (!found.undefined()) return found;
         return otherwise.undefined() ? Value(Value::None{}) : otherwise;
       }},
  };
  return all;
}

const std::map<std::string, Method>& filters() {
  // Those that are a method of strings too take what is no string as its text.
  static const std::map<std::string, Method> all = {
      {"trim",
       [](const Value& v, const Arguments& a) -> Value { return stripped(v.printed(), a, true, true); }},
      {"upper", [](const Value& v, const Arguments& a) { return call_method("upper", v.printed(), a); }},
      {"lower", [](const Value& v, const Arguments& a) { return call_method("lower", v.printed(), a); }},
      {"title", [](const Value& v, const Arguments& a) { return call_method("title", v.printed(), a); }},
      {"capitalize",
       [](const Value& v, const Arguments& a) { return call_method("capitalize", v.printed(), a); }},
      {"replace", [](const Value& v, const Arguments& a) { return replace(v.printed(), a); }},
      {"length", [](const Value& v, const Arguments&) { return length(v); }},
      {"count", [](const Value& v, const Arguments&) { return length(v); }},
      {"tojson", json_of},
      {"string", [](const Value& v, const Arguments&) -> Value { return v.printed(); }},
      {"int", [](const Value& v, const Arguments&) { return to_integer(v); }},
      {"list", [](const Value& v, const Arguments&) -> Value { return elements(v); }},
      {"first", [](const Value& v, const Arguments&) { return end_of(v, true); }},
      {"last", [](const Value& v, const Arguments&) { return end_of(v, false); }},
      {"reverse", [](const Value& v, const Arguments&) { return reversed(v); }},
      {"items", [](const Value& v, const Arguments&) { return members(v, true, true); }},
      {"join",
       [](const Value& v, const Arguments& a) {
         const Value separator = a.get(0, "d");
         return join(separator.undefined() ? "" : text_of(separator, "join"), v);
       }},
      {"default", defaulted},
      {"d", defaulted},
      {"safe", [](const Value& v, const Arguments&) -> Value { return v.printed(); }},
  };
  return all;
}

using Test = bool (*)(const Value& value, const Value& other);

const std::map<std::string, Test>& tests() {
  static const auto odd = [](const Value& v) {
    if (!v.as<int64_t>()) throw ValueError(v.kind() + " as odd or even");
    return *v.as<int64_t>() % 2 != 0;
  };
  static const std::map<std::string, Test> all = {
      {"defined", [](const Value& v, const Value&) { return !v.undefined(); }},
      {"undefined", [](const Value& v, const Value&) { return v.undefined(); }},
      {"none", [](const Value& v, const Value&) { return v.none(); }},
      {"string", [](const Value& v, const Value&) { return v.text() != nullptr; }},
      {"mapping", [](const Value& v, const Value&) { return v.dict() != nullptr; }},
      {"iterable",
       [](const Value& v, const Value&) { return v.text() || v.list() || v.dict() || v.undefined(); }},
      {"sequence",
       [](const Value& v, const Value&) { return v.text() || v.list() || v.dict() || v.undefined(); }},
      {"number", [](const Value& v, const Value&) { return v.number(); }},
      {"integer", [](const Value& v, const Value&) { return v.as<int64_t>() != nullptr; }},
      {"float", [](const Value& v, const Value&) { return v.as<double>() != nullptr; }},
      {"boolean", [](const Value& v, const Value&) { return v.as<bool>() != nullptr; }},
      {"true", [](const Value& v, const Value&) { return v.as<bool>() && *v.as<bool>(); }},
      {"false", [](const Value& v, const Value&) { return v.as<bool>() && !*v.as<bool>(); }},
      {"odd", [](const Value& v, const Value&) { return odd(v); }},
      {"even", [](const Value& v, const Value&) { return !odd(v); }},
      {"equalto", equal},
      {"eq", equal},
      {"ne", [](const Value& v, const Value& other) { return !equal(v, other); }},
      {"in", [](const Value& v, const Value& other) { return contains(other, v); }},
  };
  return all;
}

template <typename Map>
std::string names_of(const Map& map) {
  std::string out;
  for (const auto& [name, function] : map) out += (out.empty() ? "" : " ") + name;
  return out;
}

}  // namespace

Value Arguments::get(size_t index, const std::string& name) const {
  if (index < positional.size()) return positional[index];
  for (const auto& [key, value] : keywords) {
    if (key == name) return value;
  }
  return Value::Undefined{name};
}

bool known_function(const std::string& name) {
  return name == "range" || name == "namespace" || name == "raise_exception" || name == "strftime_now";
}
bool known_method(const std::string& name) {
  return methods().contains(name);
}
bool known_filter(const std::string& name) {
  return filters().contains(name);
}
bool known_test(const std::string& name) {
  return tests().contains(name);
}
std::string list_of_methods() {
  return names_of(methods());
}
std::string list_of_filters() {
  return names_of(filters());
}
std::string list_of_tests() {
  return names_of(tests());
}

Value call_method(const std::string& name, const Value& self, const Arguments& arguments) {
  if (self.undefined()) throw ValueError(name + " of " + self.kind());
  return methods().at(name)(self, arguments);
}

Value call_filter(const std::string& name, const Value& value, const Arguments& arguments) {
  return filters().at(name)(value, arguments);
}

bool call_test(const std::string& name, const Value& value, const Arguments& arguments) {
  return tests().at(name)(value, arguments.get(0, "other"));
}

Value range(const Arguments& arguments) {
  const auto integer = [&](size_t index, int64_t otherwise) {
    const Value value = arguments.get(index, "");
    if (value.undefined()) return otherwise;
    if (!value.as<int64_t>()) throw ValueError("a range of " + value.kind());
    return *value.as<int64_t>();
  };
  const bool one = arguments.positional.size() < 2;
  const int64_t begin = one ? 0 : integer(0, 0);
  const int64_t end = integer(one ? 0 : 1, 0);
  const int64_t step = integer(2, 1);
  constexpr size_t kLongest = 100'000;  // Jinja's own sandbox has this bound
  if (step == 0) throw ValueError("a range with step 0");
  List out;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    out.emplace_back(i);
    if (out.size() > kLongest) throw ValueError("a range of more than 100000 numbers");
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return out;
}

}  // namespace gorgon::jinja
