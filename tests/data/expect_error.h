#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.h"

namespace gorgon {

// The action must throw one Error line of that status that contains every part.
inline void expect_error(const std::function<void()>& action, ExitCode code,
                         const std::vector<std::string>& parts) {
  try {
    action();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    const std::string_view line = error.what();
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << line;
    EXPECT_EQ(line.find('\n'), std::string_view::npos) << line;
    for (const std::string& part : parts) {
      EXPECT_NE(line.find(part), std::string_view::npos) << "no \"" << part << "\" in: " << line;
    }
  }
}

// Expects the action to throw one Error line of that status; that line, or "" where it does not throw.
inline std::string error_of(ExitCode code, const std::function<void()>& action) {
  std::string line;
  const auto keep = [&] {
    try {
      action();
    } catch (const Error& error) {
      line = error.what();
      throw;
    }
  };
  expect_error(keep, code, {});
  return line;
}

// A copy of exactly its size on the heap, so that AddressSanitizer sees the first byte read beyond it.
inline std::vector<std::byte> exact_bytes(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  std::vector<std::byte> bytes;
  bytes.reserve(text.size());
  bytes.assign(data, data + text.size());
  return bytes;
}

}  // namespace gorgon
