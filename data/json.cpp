#include "data/json.h"

#include <cmath>
#include <iterator>
#include <set>
#include <utility>

namespace gorgon {

namespace {

std::string place_of(const JsonOptions& options, size_t byte) {
  return options.line > 0 ? at_line(options.file, options.line, static_cast<long>(byte) + 1)
                          : at_byte(options.file, options.base + byte);
}

// Iterates over text and tells how far the parser has read: its events carry no position of their own.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) { return a.at_ == b.at_; }
  friend bool operator!=(const CountingIterator& a, const CountingIterator& b) { return !(a == b); }

 private:
  const char* at_;
  const char** furthest_;
};

// Builds the tree from parser events, so that depth and duplicate keys are seen while parsing.
class TreeBuilder : public nlohmann::json_sax<Json> {
 public:
  TreeBuilder(const JsonOptions& options, std::string_view text, const char* const* furthest)
      : options_(options), text_(text), furthest_(furthest) {}

  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& value) override {
    Json& object = *open_.back();
    if (options_.reject_duplicate_keys && object.contains(value)) {
      fail(options_.code, {place(), quote_value(value), "every key once", "a duplicate", ""});
    }
    slot_ = &object[value];
    return true;
  }

  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::detail::exception&) override {
    const size_t byte = position > 0 ? position - 1 : 0;  // the library counts from 1
    const bool at_end = byte >= text_.size();
    fail(options_.code, {place_of(options_, std::min(byte, text_.size())), "", "valid JSON",
                         at_end ? "the end of the text" : quote_value(tail_of(token)), ""});
  }

 private:
  std::string place() const { return place_of(options_, static_cast<size_t>(*furthest_ - text_.data())); }

  // The end of the offending token is where the fault is.
  static std::string_view tail_of(const std::string& token) {
    constexpr size_t kShown = 24;
    return token.size() > kShown ? std::string_view(token).substr(token.size() - kShown)
                                 : std::string_view(token);
  }

  template <typename Value>
  bool add(Value&& value) {
    place_value(Json(std::forward<Value>(value)));
    return true;
  }

  Json* place_value(Json value) {
    if (++values_ > options_.max_values) {
      fail(options_.code,
           {place(), "", "at most " + std::to_string(options_.max_values) + " values", "more", ""});
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  bool open(Json value) {
    if (open_.size() >= static_cast<size_t>(options_.max_depth)) {
      fail(options_.code,
           {place(), "", "at most " + std::to_string(options_.max_depth) + " levels of nesting", "more", ""});
    }
    open_.push_back(place_value(std::move(value)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const JsonOptions& options_;
  std::string_view text_;
  const char* const* furthest_;
  size_t values_ = 0;
  Json root_;
  std::vector<Json*> open_;
  Json* slot_ = nullptr;  // where the value of the last key goes
};

// Values are looked at when parsing is over: errors name the line or the file, no byte.
[[noreturn]] void fail_found(const JsonOptions& options, const std::string& key, const std::string& expected,
                             const std::string& found) {
  const std::string place = options.line > 0 ? at_line(options.file, options.line) : options.file;
  fail(options.code, {place, key, expected, found, ""});
}

[[noreturn]] void fail_value(const JsonOptions& options, const std::string& key, const std::string& expected,
                             const Json& value) {
  fail_found(options, key, expected,
             value.is_structured() ? "an " + std::string(value.type_name())
                                   : quote_value(value.dump(-1, ' ', true)));
}

const Json& member(const Json& object, const std::string& key, const std::string& expected,
                   const JsonOptions& options) {
  if (!object.is_object()) fail_found(options, key, "an object that holds it", object.type_name());
  const auto found = object.find(key);
  if (found == object.end()) fail_found(options, key, expected, "no such key");
  return *found;
}

}  // namespace

Json parse_json(std::string_view text, const JsonOptions& options) {
  // The library takes a NUL byte for the end of the text and ignores what follows.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    fail(options.code, {place_of(options, nul), "", "JSON text", "a NUL byte", ""});
  }
  const char* furthest = text.data();
  TreeBuilder builder(options, text, &furthest);
  CountingIterator begin(text.data(), &furthest);
  CountingIterator end(text.data() + text.size(), &furthest);
  Json::sax_parse(begin, end, &builder);
  return builder.take();
}

int64_t json_int(const Json& object, const std::string& key, int64_t min, int64_t max,
                 const JsonOptions& options) {
  const std::string expected = "an integer from " + std::to_string(min) + " to " + std::to_string(max);
  const Json& value = member(object, key, expected, options);
  if (!value.is_number_integer()) fail_value(options, key, expected, value);
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    fail_value(options, key, expected, value);
  }
  const int64_t integer = value.get<int64_t>();
  if (integer < min || integer > max) fail_value(options, key, expected, value);
  return integer;
}

double json_number(const Json& object, const std::string& key, const JsonOptions& options) {
  const Json& value = member(object, key, "a number", options);
  if (!value.is_number()) fail_value(options, key, "a number", value);
  return value.get<double>();
}

std::string json_string(const Json& object, const std::string& key, const JsonOptions& options) {
  const Json& value = member(object, key, "a string", options);
  if (!value.is_string()) fail_value(options, key, "a string", value);
  return value.get<std::string>();
}

}  // namespace gorgon
