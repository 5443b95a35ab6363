#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace gorgon {

// Of a from b, as a part of the norm of b.
inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    error += (x - y) * (x - y);
    norm += y * y;
  }
  return error == 0 ? 0 : std::sqrt(error / norm);
}

// Prints a line for everything of a row that is not as expected.
class Comparison {
 public:
  explicit Comparison(std::string row) : row_(std::move(row)) {}

  void close(const std::string& what, double value, double expected, double bound) {
    if (std::abs(value - expected) <= bound * std::abs(expected)) return;
    tell(fmt::format("{}: expected {}, found {} ({:.2g})", what, expected, value, value / expected - 1));
  }
  void equal(const std::string& what, int64_t value, int64_t expected) {
    if (value != expected) tell(fmt::format("{}: expected {}, found {}", what, expected, value));
  }
  void normwise(const std::string& what, const std::vector<float>& values, const std::vector<float>& expected,
                double bound) {
    equal(what + " elements", std::ssize(values), std::ssize(expected));
    const double part = distance(values, expected);
    if (!(part <= bound)) tell(fmt::format("{}: {:.2g} of its norm", what, part));
  }
  bool failed() const { return failed_; }

 private:
  void tell(const std::string& line) {
    failed_ = true;
    fmt::print("{}: {}\n", row_, line);
  }
  std::string row_;
  bool failed_ = false;
};

}  // namespace gorgon
