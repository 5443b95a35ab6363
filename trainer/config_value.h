#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/yaml_document.h"

namespace gorgon {

// Typed reading of YAML values: no conversion that a user would not see (3.0 is no integer, 010 is not 8, a
// quoted number is text). All throw Error(config) naming place, key, what was expected and what was found.
bool config_bool(const YamlValue& value, const std::string& key);
int64_t config_int(const YamlValue& value, const std::string& key, int64_t min, int64_t max);
double config_float(const YamlValue& value, const std::string& key, double min, double max);
std::string config_text(const YamlValue& value, const std::string& key);
// One of `choices`.
std::string config_choice(const YamlValue& value, const std::string& key,
                          const std::vector<std::string>& choices);

[[noreturn]] void config_fail(const YamlValue& value, const std::string& key, const std::string& expected,
                              const std::string& remedy = "");
std::string describe(const YamlValue& value);  // what was found: "'3.0'", "a list", "nothing"

// Values as YAML that reads back equal.
std::string yaml_text(const std::string& text);
std::string yaml_float(double value);
std::string yaml_float(float value);

// The candidate with the smallest edit distance; "" when none is near enough to be meant.
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace gorgon
