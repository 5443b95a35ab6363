#pragma once

#include <algorithm>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/error.h"

namespace gorgon {

// What every fuzz target expects of a reader.

inline void check(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

// Runs `read`; an Error with one of these codes and a line of text is as good as a value.
template <typename Read>
void accept_errors(std::initializer_list<ExitCode> codes, const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    const std::string_view line = error.what();
    const bool one_line =
        std::all_of(line.begin(), line.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
    const bool typed = std::find(codes.begin(), codes.end(), error.code()) != codes.end();
    check(typed && one_line && !line.empty(), "an error of the wrong kind");
  }
}

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace gorgon
