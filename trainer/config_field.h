#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "trainer/config_value.h"
#include "trainer/run_config.h"

// The usual kinds of ConfigField. `at` returns the member: `[](auto& c) -> auto& { return c.lr.min_lr_rate;
// }` serves reading and writing.
namespace gorgon::config_field {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kManySteps = 1'000'000'000'000;

struct Key {
  std::string name;
  std::vector<std::string> aliases;
  std::string meaning;
  bool shapes_result = true;
};

template <typename At>
ConfigField integer(const Key& key, int64_t min, int64_t max, At at) {
  return {key.name,
          key.aliases,
          max >= kManySteps ? fmt::format("int, at least {}", min) : fmt::format("int, {} to {}", min, max),
          key.meaning,
          key.shapes_result,
          [=](RunConfig& config, const YamlValue& value) {
            auto& member = at(config);
            member =
                static_cast<std::remove_reference_t<decltype(member)>>(config_int(value, key.name, min, max));
          },
          [=](const RunConfig& config) { return fmt::format("{}", at(config)); }};
}

template <typename At>
ConfigField number(const Key& key, double min, double max, At at) {
  const std::string range =
      max == kInfinity ? fmt::format("float, at least {}", min) : fmt::format("float, {} to {}", min, max);
  return {key.name,
          key.aliases,
          range,
          key.meaning,
          key.shapes_result,
          [=](RunConfig& config, const YamlValue& value) {
            auto& member = at(config);
            member = static_cast<std::remove_reference_t<decltype(member)>>(
                config_float(value, key.name, min, max));
          },
          [=](const RunConfig& config) { return yaml_float(at(config)); }};
}

template <typename At>
ConfigField boolean(const Key& key, At at) {
  return {key.name,
          key.aliases,
          "bool",
          key.meaning,
          key.shapes_result,
          [=](RunConfig& config, const YamlValue& value) { at(config) = config_bool(value, key.name); },
          [=](const RunConfig& config) { return std::string(at(config) ? "true" : "false"); }};
}

template <typename At>
ConfigField text(const Key& key, const std::string& type, At at) {
  return {key.name,
          key.aliases,
          type,
          key.meaning,
          key.shapes_result,
          [=](RunConfig& config, const YamlValue& value) { at(config) = config_text(value, key.name); },
          [=](const RunConfig& config) { return yaml_text(at(config)); }};
}

// Names of values; the first name of a value is the one that is printed.
template <typename Value>
using Choices = std::vector<std::pair<std::string, Value>>;

template <typename Value, typename At>
ConfigField choice(const Key& key, const Choices<Value>& choices, At at) {
  std::vector<std::string> names;
  for (const auto& [name, value] : choices) names.push_back(name);
  return {key.name,
          key.aliases,
          fmt::format("{}", fmt::join(names, ", ")),
          key.meaning,
          key.shapes_result,
          [=](RunConfig& config, const YamlValue& value) {
            const std::string name = config_choice(value, key.name, names);
            at(config) = std::find_if(choices.begin(), choices.end(), [&](const auto& c) {
                           return c.first == name;
                         })->second;
          },
          [=](const RunConfig& config) {
            const auto found = std::find_if(choices.begin(), choices.end(), [&](const auto& c) {
              return Value(c.second) == Value(at(config));
            });
            return found == choices.end() ? std::string() : found->first;
          }};
}

// The keys of the heads and their loss (run_config_head_fields.cpp).
void add_head_fields(std::vector<ConfigField>& fields);
void add_optimizer_fields(std::vector<ConfigField>& fields);  // learning rate and AdamW
void add_precision_fields(std::vector<ConfigField>& fields);  // types of weights, trained and frozen

}  // namespace gorgon::config_field
