#pragma once

#include <array>
#include <cstdint>

#include "kernels/code_map.h"
#include "optim/adamw.h"

namespace gorgon::cpu {

// Internals of the CPU's AdamW: numbers of one step, and the arithmetic that finds most codes without a
// search.

struct StepFactors {
  AdamWForm form;
  float beta1, beta2, one_minus_beta1, one_minus_beta2;
  float step_size;  // bitsandbytes: lr c2/c1; pytorch: lr/c1
  float epsilon;    // bitsandbytes: c2 eps; pytorch: eps
  float c2;         // pytorch: sqrt(v) is divided by it
  float decay;      // 1 - lr wd
  float grad_scale;
  uint64_t seed, counter_high;
};
StepFactors step_factors(const ParamGroup& group, const AdamWOptions& options, const StepScalars& scalars);

// Codes rise in seven decades of n equal cells each, so that the rank of |x| among the values >= 0 of its map
// is
//   rank(x) = floor(slope x + offset), clamped to the decade [low, high), within segment s(x) of eight,
//   s(x) = clamp(round(segment_slope bits(x) + segment_offset), 0, 7), linear in the bits of x: an
//   approximate log.
// Segment 0 ends between 0 and the second value, segment 1 + i belongs to decade i; the segments' ends lie
// where the clamp below is right on either side: between the last cell of a decade and the second cell of the
// next. Where slope x + offset is nearer than kBand to a whole number (or to 1.0's threshold) the caller
// searches. kBand covers all roundings (2^-23 relative of numbers up to 255) several times over.
struct RankFormula {
  static constexpr float kBand = 3e-4f;
  // Twice eight, for vectors of sixteen.
  alignas(64) std::array<float, 16> slope, offset, low, high;
  float segment_slope, segment_offset;
  float top;       // slope x + offset from which 1.0 is nearest
  float top_rank;  // of 1.0
};
const RankFormula& momentum_ranks();
const RankFormula& variance_ranks();

}  // namespace gorgon::cpu
