#pragma once

#include <fstream>
#include <regex>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

namespace gorgon {

// Paths of all values: "heads[].ce", "plain.tau"; a list of plain values is "verdict[]" where it holds text
// and one value else (a histogram, an interval), an empty list its own path.
inline void add_json_keys(const nlohmann::json& json, const std::string& path, std::set<std::string>& keys) {
  const auto is_part = [](const nlohmann::json& value) { return value.is_object() || value.is_string(); };
  if (json.is_object()) {
    for (const auto& [key, value] : json.items())
      add_json_keys(value, path.empty() ? key : path + "." + key, keys);
  } else if (json.is_array() && !json.empty() && is_part(json[0])) {
    for (const auto& value : json) add_json_keys(value, path + "[]", keys);
  } else {
    keys.insert(path);
  }
}

// The keys of the table in docs/evaluation.md, DRAFT written out.
inline std::set<std::string> documented_eval_keys() {
  std::set<std::string> keys;
  std::ifstream file("docs/evaluation.md");
  const std::regex code("`([^`]+)`");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `")) continue;
    const std::string cell = line.substr(0, line.find('|', 1));
    for (std::sregex_iterator at(cell.begin(), cell.end(), code), end; at != end; ++at) {
      const std::string key = (*at)[1];
      if (!key.starts_with("DRAFT.")) {
        keys.insert(key);
        continue;
      }
      for (const char* draft : {"plain", "medusa", "lookup", "both"}) keys.insert(draft + key.substr(5));
    }
  }
  return keys;
}

}  // namespace gorgon
