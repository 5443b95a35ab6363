#include "kernels/code_map.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace gorgon {

namespace {

// PyTorch's linspace(0.1, 1, n + 1) in f32: from both ends, each with a fused multiply-add.
float boundary(int k, int n) {
  const float step = (1.0f - 0.1f) / static_cast<float>(n);
  return k < (n + 1) / 2 ? std::fma(step, static_cast<float>(k), 0.1f)
                         : std::fma(-step, static_cast<float>(n - k), 1.0f);
}

float first_above_half(float low, float high, int code_of_high) {
  const double half = (static_cast<double>(low) + static_cast<double>(high)) / 2.0;  // exact
  const auto rounded = static_cast<float>(half);
  const auto exact = static_cast<double>(rounded);
  const bool belongs_to_high = exact > half || (exact == half && code_of_high % 2 == 0);
  return belongs_to_high ? rounded : std::nextafter(rounded, std::numeric_limits<float>::infinity());
}

CodeMap make(bool is_signed) {
  std::vector<float> values = {0.0f, 1.0f};
  for (int i = 0; i < 7; ++i) {
    const int n = is_signed ? 1 << i : 2 << i;
    const auto power = static_cast<float>(std::pow(10.0, i - 6));
    for (int k = 0; k < n; ++k) {
      const float value = power * ((boundary(k, n) + boundary(k + 1, n)) / 2.0f);
      values.push_back(value);
      if (is_signed) values.push_back(-value);
    }
  }
  std::sort(values.begin(), values.end());
  CodeMap map{};
  std::copy(values.begin(), values.end(), map.values.begin());
  map.zero = static_cast<uint8_t>(std::find(values.begin(), values.end(), 0.0f) - values.begin());
  for (size_t c = 0; c + 1 < values.size(); ++c) {
    map.thresholds[c] = first_above_half(values[c], values[c + 1], static_cast<int>(c) + 1);
  }
  return map;
}

}  // namespace

uint8_t CodeMap::nearest(float x) const {
  return static_cast<uint8_t>(std::upper_bound(thresholds.begin(), thresholds.end(), x) - thresholds.begin());
}

const CodeMap& signed_code_map() {
  static const CodeMap map = make(true);
  return map;
}

const CodeMap& unsigned_code_map() {
  static const CodeMap map = make(false);
  return map;
}

}  // namespace gorgon
