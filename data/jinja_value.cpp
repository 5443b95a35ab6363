#include "data/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/unicode.h"
#include "kernels/error.h"

namespace gorgon::jinja {
namespace {

// As repr() of Python prints it: the shortest text that reads back, with a point or an exponent.
std::string printed_float(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  char buffer[32];
  const double magnitude = std::fabs(number);
  const bool plain = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, format).ptr;
  std::string out(buffer, end);
  if (plain && out.find('.') == std::string::npos) out += ".0";
  return out;
}

template <typename Member>
Value find_member(const Member& members, const std::string& key) {
  for (const auto& [name, value] : members) {
    if (name == key) return value;
  }
  return Value::Undefined{key};
}

}  // namespace

int Value::depth() const {
  if (const auto* list = std::get_if<ListRef>(&value_)) return list->shared->depth;
  if (const auto* dict = std::get_if<DictRef>(&value_)) return dict->shared->depth;
  return 0;
}

int Value::checked_depth(const Value& element) {
  if (element.name_space()) throw ValueError("a namespace within another value");
  const int depth = element.depth() + 1;
  if (depth > kDeepest) throw ValueError("values nested deeper than " + std::to_string(kDeepest));
  return depth;
}

Value::Value(List list) {
  auto shared = std::make_shared<Shared>();
  for (const Value& element : list) shared->depth = std::max(shared->depth, checked_depth(element));
  shared->list = std::move(list);
  value_ = ListRef{std::move(shared)};
}

Value::Value(Dict dict) {
  auto shared = std::make_shared<Shared>();
  for (const auto& [key, element] : dict) shared->depth = std::max(shared->depth, checked_depth(element));
  shared->dict = std::move(dict);
  value_ = DictRef{std::move(shared)};
}

Value Value::make_namespace(Dict members) {
  for (const auto& [key, element] : members) checked_depth(element);
  Value value;
  value.value_ = std::make_shared<Namespace>(Namespace{std::move(members)});
  return value;
}

const List* Value::list() const {
  const auto* ref = std::get_if<ListRef>(&value_);
  return ref ? &ref->shared->list : nullptr;
}

const Dict* Value::dict() const {
  const auto* ref = std::get_if<DictRef>(&value_);
  return ref ? &ref->shared->dict : nullptr;
}

Value::Namespace* Value::name_space() const {
  const auto* ref = std::get_if<std::shared_ptr<Namespace>>(&value_);
  return ref ? ref->get() : nullptr;
}

bool Value::number() const {
  return as<bool>() || as<int64_t>() || as<double>();
}

bool Value::truth() const {
  if (undefined() || none()) return false;
  if (const auto* truth = as<bool>()) return *truth;
  if (const auto* number = as<int64_t>()) return *number != 0;
  if (const auto* number = as<double>()) return *number != 0;
  if (text()) return !text()->empty();
  if (list()) return !list()->empty();
  if (dict()) return !dict()->empty();
  return true;
}

std::string Value::printed() const {
  if (undefined()) return "";
  if (none()) return "None";
  if (const auto* truth = as<bool>()) return *truth ? "True" : "False";
  if (const auto* number = as<int64_t>()) return std::to_string(*number);
  if (const auto* number = as<double>()) return printed_float(*number);
  if (text()) return *text();
  throw ValueError(kind() + " cannot be printed without tojson");
}

std::string Value::kind() const {
  if (const auto* missing = as<Undefined>()) {
    return missing->name.empty() ? "an undefined value" : quote_value(missing->name) + ", which is undefined";
  }
  if (none()) return "none";
  if (as<bool>()) return "a boolean";
  if (as<int64_t>()) return "an integer";
  if (as<double>()) return "a float";
  if (text()) return "a string";
  if (list()) return "a list";
  return dict() ? "a mapping" : "a namespace";
}

Value Value::member(const std::string& key) const {
  if (undefined()) throw ValueError(quote_value(key) + " of " + kind());
  if (dict()) return find_member(*dict(), key);
  if (name_space()) return find_member(name_space()->members, key);
  return Undefined{key};
}

Value Value::item(const Value& index) const {
  if (undefined()) throw ValueError("an element of " + kind());
  if (index.text()) return member(*index.text());
  const auto* number = index.as<int64_t>();
  if (!number || (!list() && !text())) return Undefined{};
  const List all = list() ? List() : elements(*this);
  const List& list_or_text = list() ? *list() : all;
  const auto size = static_cast<int64_t>(list_or_text.size());
  if (*number < -size || *number >= size) return Undefined{"[" + std::to_string(*number) + "]"};
  return list_or_text[static_cast<size_t>(*number < 0 ? *number + size : *number)];
}

List elements(const Value& value) {
  if (value.list()) return *value.list();
  List out;
  if (value.text()) {
    for (std::string& character : characters(*value.text())) out.emplace_back(std::move(character));
  } else if (value.dict()) {
    for (const auto& [key, element] : *value.dict()) out.emplace_back(key);
  } else if (!value.undefined()) {
    throw ValueError("a loop over " + value.kind());
  }
  return out;
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = character_at(text, at).bytes;
    out.emplace_back(text.substr(at, bytes));
    at += bytes;
  }
  return out;
}

namespace {

void append_json_string(const std::string& text, std::string& out) {
  constexpr const char* kHex = "0123456789abcdef";
  constexpr std::string_view kNamed = "\"\"\\\\\bb\ff\nn\rr\tt";
  out += '"';
  for (const char c : text) {
    size_t named = 0;
    while (named < kNamed.size() && kNamed[named] != c) named += 2;
    if (named < kNamed.size()) {
      out += '\\';
      out += kNamed[named + 1];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += std::string("\\u00") + (c >= 0x10 ? '1' : '0') + kHex[c & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_json(const Value& value, int indent, int level, std::string& out) {
  const auto line = [&](int depth) {
    if (indent >= 0) out += "\n" + std::string(static_cast<size_t>(indent * depth), ' ');
  };
  const auto members = [&](const auto& all, char open, char close, const auto& append) {
    out += open;
    for (size_t i = 0; i < all.size(); ++i) {
      if (i > 0) out += indent >= 0 ? "," : ", ";
      line(level + 1);
      append(all[i]);
    }
    if (!all.empty()) line(level);
    out += close;
  };
  if (value.text()) {
    append_json_string(*value.text(), out);
  } else if (value.list()) {
    members(*value.list(), '[', ']', [&](const Value& each) { append_json(each, indent, level + 1, out); });
  } else if (value.dict()) {
    members(*value.dict(), '{', '}', [&](const auto& each) {
      append_json_string(each.first, out);
      out += ": ";
      append_json(each.second, indent, level + 1, out);
    });
  } else if (const auto* truth = value.as<bool>()) {
    out += *truth ? "true" : "false";
  } else if (value.none()) {
    out += "null";
  } else if (value.number()) {
    out += value.printed();
  } else {
    throw ValueError(value.kind() + " as JSON");
  }
}

}  // namespace

std::string to_json(const Value& value, int indent) {
  std::string out;
  append_json(value, indent, 0, out);
  return out;
}

}  // namespace gorgon::jinja
