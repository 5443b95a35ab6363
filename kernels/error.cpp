#include "kernels/error.h"

#include <cstdio>

namespace gorgon {

void fail(ExitCode code, const ErrorParts& parts) {
  std::string line = parts.place;
  const auto add = [&line](std::string_view separator, const std::string& text) {
    if (text.empty()) return;
    if (!line.empty()) line += separator;
    line += text;
  };
  add(": ", parts.key);
  add(": ", parts.expected.empty() ? "" : "expected " + parts.expected);
  add(parts.expected.empty() ? ": " : ", ", parts.found.empty() ? "" : "found " + parts.found);
  add("; ", parts.remedy);
  throw Error(code, line);
}

void fail_internal(std::string_view where, const std::string& what) {
  throw Error(ExitCode::internal,
              std::string(where) + ": " + what + "; this is a defect of gorgon, please report it");
}

std::string at_line(std::string_view file, long line, long column) {
  std::string place = std::string(file) + ":" + std::to_string(line);
  if (column > 0) place += ":" + std::to_string(column);
  return place;
}

std::string at_byte(std::string_view file, unsigned long long byte) {
  return std::string(file) + "@" + std::to_string(byte);
}

std::string quote_value(std::string_view value) {
  constexpr size_t kMaxCharacters = 64;
  std::string out = "'";
  for (const unsigned char c : value) {
    if (out.size() > kMaxCharacters - 4) {
      out += "...";
      break;
    }
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c < 0x20 || c >= 0x7f) {
      char hex[5];
      std::snprintf(hex, sizeof hex, "\\x%02x", c);
      out += hex;
    } else {
      out += static_cast<char>(c);
    }
  }
  return out + "'";
}

}  // namespace gorgon
