#include "optim/rank_lines.h"

#include <cmath>

#include "kernels/code_map.h"

namespace gorgon::cpu {

namespace {

constexpr size_t kTopSegment = 8;  // behind 0 for zero and 1 to 7 for the decades

// The quarter of an octave with this index begins at y.
double beginning(size_t index) {
  return std::ldexp(1.0 + static_cast<double>(index % 4) / 4.0, static_cast<int>(index / 4) - 31);
}

RankLines make(const CodeMap& map, bool is_signed, double scale) {
  RankLines lines{};
  const double bias = is_signed ? RankLines::kSignedBias : RankLines::kUnsignedBias;
  const double tiny = RankLines::kTiny, band = RankLines::kBand, bend = RankLines::kBend;
  const double first_threshold = static_cast<double>(map.thresholds[map.zero]);
  const auto set = [&](size_t s, double slope, double offset, double cut) {
    lines.slope[s] = static_cast<float>(slope / scale);
    lines.offset[s] = static_cast<float>(offset + bias + band - tiny * slope / scale);
    lines.cut[s] = static_cast<float>(cut);
  };
  set(0, 0.5 / first_threshold, 0.5, 0.0);
  for (int i = 0; i < 7; ++i) {
    const double n = is_signed ? 1 << i : 2 << i, low = is_signed ? n : n - 1.0;
    const double slope = std::pow(10.0, 6 - i) * n / 0.9, offset = low - 0.1 * n / 0.9;
    // bend (low + 0.2) - cut = low, biased, and the band kept as it is
    const double cut = (bend - 1.0) * (low + bias + band) + bend * 0.2;
    set(static_cast<size_t>(i) + 1, slope, offset, i > 0 ? cut : 0.0);
    // From 3/4 of the last cell on 1.0 is nearest.
    if (i == 6 && is_signed) set(kTopSegment, slope, offset + 0.25, 0.0);
    if (i == 6) lines.top = static_cast<float>(low + n + bias + band - 0.5);
  }
  for (size_t index = 0; index < lines.segment.size(); ++index) {
    const double end = beginning(index + 1);
    size_t segment = end <= 2.0 * first_threshold * scale ? 0 : 1;
    for (int i = -6; segment > 0 && i < 0; ++i) {
      if (scale * std::pow(10.0, i) < end) ++segment;
    }
    if (is_signed && beginning(index) >= 1.25) segment = kTopSegment;
    lines.segment[index] = static_cast<uint8_t>(segment);
  }
  lines.scale = static_cast<float>(scale);
  return lines;
}

}  // namespace

const RankLines& momentum_lines() {
  static const RankLines lines = make(signed_code_map(), true, 1.26);
  return lines;
}

const RankLines& variance_lines() {
  static const RankLines lines = make(unsigned_code_map(), false, 0.7875);
  return lines;
}

}  // namespace gorgon::cpu
