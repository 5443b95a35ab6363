#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gorgon {

struct YamlEntry;

// A YAML value with its place in the file, free of the library that parsed it.
struct YamlValue {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string text;                // of a scalar
  bool quoted = false;             // a quoted scalar is text, never a number, a bool or null
  long line = 0;                   // from 1
  std::string place;               // FILE:LINE:COL, for errors
  std::vector<YamlValue> items;    // of a list
  std::vector<YamlEntry> entries;  // of a map, in file order, keys once each

  bool is_scalar() const { return kind == Kind::scalar; }
};

struct YamlEntry {
  std::string key;
  YamlValue value;
};

// Limits that keep a hostile or mistaken file from being read as something else.
constexpr size_t kMaxYamlBytes = size_t{1} << 20;
constexpr int kMaxYamlDepth = 16;

// The one map in a YAML text. Throws Error(config) with FILE:LINE:COL (or FILE@BYTE) for: more than 1 MiB,
// NUL or bytes that are not UTF-8, syntax errors, an open quote, several documents, anything but a map at the
// top, a key that is there twice (also in nested maps), aliases, tags, more than 16 levels.
YamlValue parse_yaml(std::string_view text, const std::string& file);

// The value of a `--set key=value`: a scalar or a flow list or map. Its places, and those of errors, are
// `place`; errors name `key`.
YamlValue parse_yaml_value(std::string_view text, const std::string& place, const std::string& key);

}  // namespace gorgon
