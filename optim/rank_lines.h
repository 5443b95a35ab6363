#pragma once

#include <array>
#include <cstdint>

namespace gorgon::cpu {

// Ranks of |x| in [0, 1] among the values >= 0 of a code map, as RankFormula of adamw_block.h has them, for
// chips that look bytes up in registers (VBMI): the segment costs two instructions, and two lines and a
// minimum do what clamps do there. On
//   y = scale |x| + kTiny,
// every quarter of an octave (bits 21 to 27 of y) belongs to one segment, with
//   line = slope y + offset,  position = min(line, kBend line - cut),  rank = floor(position) - bias.
//
// A decade's cells are a fifth as wide as the next decade's, w and 5w; its last one ends w behind the decade,
// at the threshold of the next decade's first value, which the next one's line passes at 0.2. The second line
// of slope 1 / 2w through that threshold is right from 2w in front of the decade's end to 5w behind it. So a
// segment may begin up to 2w early, but not late: `scale` puts every end of a decade within 2w behind the
// beginning of a quarter (0.8 % behind it where that is narrowest). The test of all thresholds proves it.
//
// Positions lie kBand too high: within 2 kBand above a whole number the rank is in doubt. Thresholds lie at
// most 6.2e-5 off theirs.
struct RankLines {
  static constexpr float kTiny = 0x1p-30f;  // keeps y within 32 octaves
  static constexpr float kBand = 0x1p-12f, kBend = 2.5f;
  // So that the eight bits behind the sixteenth hold the rank, for the unsigned map in twice the bits.
  static constexpr float kSignedBias = 128.0f, kUnsignedBias = 256.0f;

  alignas(64) std::array<uint8_t, 128> segment{};
  alignas(64) std::array<float, 16> slope{}, offset{}, cut{};
  float scale;
  // Unsigned: 1.0 is nearest where 2 position - top has reached its rank. (Signed: a segment of its own.)
  float top;
};
const RankLines& momentum_lines();
const RankLines& variance_lines();

}  // namespace gorgon::cpu
