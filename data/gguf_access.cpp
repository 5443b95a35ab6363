// Typed access to GGUF's metadata.
#include <cstring>

#include "data/gguf.h"

namespace gorgon {

namespace {

[[noreturn]] void fail_value(const Gguf& gguf, const std::string& key, const std::string& expected,
                             const std::string& found) {
  const auto value = gguf.metadata.find(key);
  fail(ExitCode::model, {value == gguf.metadata.end() ? gguf.file : at_byte(gguf.file, value->second.byte),
                         quote_value(key), expected, found, ""});
}

const GgufValue& find(const Gguf& gguf, const std::string& key, const std::string& expected) {
  const auto found = gguf.metadata.find(key);
  if (found == gguf.metadata.end()) fail_value(gguf, key, expected, "no such key");
  return found->second;
}

std::string describe(const GgufValue& value) {
  struct Visitor {
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(int64_t v) const { return std::to_string(v); }
    std::string operator()(uint64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const { return std::to_string(v); }
    std::string operator()(const std::string& v) const { return quote_value(v); }
    std::string operator()(const GgufArray& v) const {
      return "an array of " + std::to_string(v.count) + " elements of type " + std::to_string(v.type);
    }
  };
  return std::visit(Visitor{}, value.value);
}

const GgufArray& array_of(const Gguf& gguf, const std::string& key, const std::string& expected) {
  const GgufValue& value = find(gguf, key, expected);
  const auto* array = std::get_if<GgufArray>(&value.value);
  if (array == nullptr) fail_value(gguf, key, expected, describe(value));
  return *array;
}

template <typename Stored, typename T>
std::vector<T> decode(const GgufArray& array) {
  std::vector<T> values(array.count);
  for (uint64_t i = 0; i < array.count; ++i) {
    Stored stored;
    std::memcpy(&stored, array.bytes.data() + i * sizeof stored, sizeof stored);
    values[i] = static_cast<T>(stored);
  }
  return values;
}

}  // namespace

int64_t Gguf::integer(const std::string& key, int64_t min, int64_t max) const {
  const std::string expected = "an integer from " + std::to_string(min) + " to " + std::to_string(max);
  const GgufValue& value = find(*this, key, expected);
  int64_t result = 0;
  if (const auto* i = std::get_if<int64_t>(&value.value)) {
    result = *i;
  } else if (const auto* u = std::get_if<uint64_t>(&value.value); u != nullptr && *u <= uint64_t{INT64_MAX}) {
    result = static_cast<int64_t>(*u);
  } else {
    fail_value(*this, key, expected, describe(value));
  }
  if (result < min || result > max) fail_value(*this, key, expected, describe(value));
  return result;
}

double Gguf::number(const std::string& key) const {
  const GgufValue& value = find(*this, key, "a number");
  if (const auto* d = std::get_if<double>(&value.value)) return *d;
  if (const auto* i = std::get_if<int64_t>(&value.value)) return static_cast<double>(*i);
  if (const auto* u = std::get_if<uint64_t>(&value.value)) return static_cast<double>(*u);
  fail_value(*this, key, "a number", describe(value));
}

const std::string& Gguf::string(const std::string& key) const {
  const GgufValue& value = find(*this, key, "a string");
  const auto* text = std::get_if<std::string>(&value.value);
  if (text == nullptr) fail_value(*this, key, "a string", describe(value));
  return *text;
}

std::vector<std::string> Gguf::strings(const std::string& key) const {
  const std::string expected = "an array of strings";
  const GgufArray& array = array_of(*this, key, expected);
  constexpr uint32_t kString = 8;
  if (array.type != kString) fail_value(*this, key, expected, describe(metadata.at(key)));
  std::vector<std::string> values;
  values.reserve(array.count);
  const std::byte* at = array.bytes.data();
  for (uint64_t i = 0; i < array.count; ++i) {
    uint64_t length = 0;
    std::memcpy(&length, at, sizeof length);
    at += sizeof length;
    values.emplace_back(reinterpret_cast<const char*>(at), length);
    at += length;
  }
  return values;
}

std::vector<int64_t> Gguf::integers(const std::string& key) const {
  const std::string expected = "an array of integers";
  const GgufArray& array = array_of(*this, key, expected);
  switch (array.type) {
    case 0:
      return decode<uint8_t, int64_t>(array);
    case 1:
      return decode<int8_t, int64_t>(array);
    case 2:
      return decode<uint16_t, int64_t>(array);
    case 3:
      return decode<int16_t, int64_t>(array);
    case 4:
      return decode<uint32_t, int64_t>(array);
    case 5:
      return decode<int32_t, int64_t>(array);
    case 10:  // above 2^63 the value turns negative, which every reader of ids and sizes refuses
    case 11:
      return decode<int64_t, int64_t>(array);
    default:
      fail_value(*this, key, expected, describe(metadata.at(key)));
  }
}

std::vector<float> Gguf::numbers(const std::string& key) const {
  const std::string expected = "an array of floating-point numbers";
  const GgufArray& array = array_of(*this, key, expected);
  if (array.type == 6) return decode<float, float>(array);
  if (array.type == 12) return decode<double, float>(array);
  fail_value(*this, key, expected, describe(metadata.at(key)));
}

bool Gguf::boolean(const std::string& key, bool otherwise) const {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return otherwise;
  const auto* value = std::get_if<bool>(&found->second.value);
  if (value == nullptr) fail_value(*this, key, "a boolean", describe(found->second));
  return *value;
}

}  // namespace gorgon
