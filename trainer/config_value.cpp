#include "trainer/config_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gorgon {
namespace {

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view without_sign(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return text;
}

// 010 is 8 in YAML 1.1 and 10 in YAML 1.2: nobody means either with certainty.
void refuse_leading_zero(const YamlValue& value, const std::string& key, const std::string& expected) {
  const std::string_view digits = without_sign(value.text);
  if (digits.size() < 2 || digits[0] != '0' || digits[1] < '0' || digits[1] > '9') return;
  config_fail(value, key, expected, "write it without leading zeros");
}

std::string range_of(double min, double max) {
  if (std::isinf(max)) return fmt::format("at least {}", min);
  return fmt::format("from {} to {}", min, max);
}

}  // namespace

std::string describe(const YamlValue& value) {
  switch (value.kind) {
    case YamlValue::Kind::null:
      return "nothing";
    case YamlValue::Kind::list:
      return "a list";
    case YamlValue::Kind::map:
      return "a map";
    case YamlValue::Kind::scalar:
      break;
  }
  return value.quoted ? "the text " + quote_value(value.text) : quote_value(value.text);
}

void config_fail(const YamlValue& value, const std::string& key, const std::string& expected,
                 const std::string& remedy) {
  fail(ExitCode::config, {value.place, key, expected, describe(value), remedy});
}

bool config_bool(const YamlValue& value, const std::string& key) {
  if (value.is_scalar() && !value.quoted) {
    for (const char* word : {"true", "True", "TRUE"}) {
      if (value.text == word) return true;
    }
    for (const char* word : {"false", "False", "FALSE"}) {
      if (value.text == word) return false;
    }
  }
  config_fail(value, key, "true or false");
}

int64_t config_int(const YamlValue& value, const std::string& key, int64_t min, int64_t max) {
  const std::string expected = fmt::format("an integer from {} to {}", min, max);
  if (!value.is_scalar() || value.quoted || !is_digits(without_sign(value.text))) {
    config_fail(value, key, expected);
  }
  refuse_leading_zero(value, key, expected);
  std::string_view text = value.text;
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ec != std::errc() || number < min || number > max) config_fail(value, key, expected);
  return number;
}

double config_float(const YamlValue& value, const std::string& key, double min, double max) {
  const std::string expected = "a number " + range_of(min, max);
  if (!value.is_scalar() || value.quoted) config_fail(value, key, expected);
  const bool plain = std::all_of(value.text.begin(), value.text.end(), [](char c) {
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
  });
  if (!plain) config_fail(value, key, expected);
  refuse_leading_zero(value, key, expected);
  std::string_view text = value.text;
  if (text.starts_with('+')) text.remove_prefix(1);
  double number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = result.ec == std::errc() && result.ptr == text.data() + text.size();
  if (!whole || !std::isfinite(number) || number < min || number > max) config_fail(value, key, expected);
  return number;
}

std::string config_text(const YamlValue& value, const std::string& key) {
  if (!value.is_scalar() || value.text.empty()) config_fail(value, key, "text");
  return value.text;
}

std::string config_choice(const YamlValue& value, const std::string& key,
                          const std::vector<std::string>& choices) {
  if (value.is_scalar() && std::find(choices.begin(), choices.end(), value.text) != choices.end())
    return value.text;
  const std::string nearest = value.is_scalar() ? nearest_name(value.text, choices) : "";
  config_fail(value, key, (choices.size() > 1 ? "one of " : "") + fmt::format("{}", fmt::join(choices, ", ")),
              nearest.empty() ? "" : "did you mean " + nearest + "?");
}

std::string yaml_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string yaml_float(double value) {
  return fmt::format("{}", value);
}
std::string yaml_float(float value) {
  return fmt::format("{}", value);
}

std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    // Levenshtein distance, one row of the table at a time.
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j <= candidate.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= candidate.size(); ++j) {
        const size_t replaced = diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace gorgon
