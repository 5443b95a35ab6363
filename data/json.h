#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace gorgon {

using Json = nlohmann::json;

// Limits and place of a JSON text; `code` is the status of its errors.
struct JsonOptions {
  std::string file;  // named in errors
  long line = 0;    // > 0: the text is this line of a JSONL file, errors say FILE:LINE:COLUMN; else FILE@BYTE
  size_t base = 0;  // bytes of the file in front of the text, added to FILE@BYTE
  ExitCode code = ExitCode::data;
  int max_depth = 64;            // bound while parsing (a deep tree crashes its destructor)
  size_t max_values = SIZE_MAX;  // bound while parsing (two bytes of text can make a value of sixteen)
  bool reject_duplicate_keys = false;
};

// Parses one JSON text: UTF-8 checked, depth bounded, nothing behind it. Throws Error(options.code).
Json parse_json(std::string_view text, const JsonOptions& options);

// Typed access; a missing key, a wrong type, a fraction or an integer outside [min, max] is an Error naming
// the key.
int64_t json_int(const Json& object, const std::string& key, int64_t min, int64_t max,
                 const JsonOptions& options);
double json_number(const Json& object, const std::string& key, const JsonOptions& options);
std::string json_string(const Json& object, const std::string& key, const JsonOptions& options);

}  // namespace gorgon
