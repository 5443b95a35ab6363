#pragma once

#include <bit>
#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/philox.h"

namespace gorgon {

// Stochastic rounding to bf16: up with the probability of the fraction cut off, so that the mean is exact.
// The 16 random bits of an element are a function of (seed, parameter id, step, the element's offset in the
// logical tensor) alone: no matter how many threads, devices or shards there are.
//
// Every block of 256 elements takes 32 calls of Philox. Element e of the block reads call e % 32, word
// (e / 32) / 2, the lower half of the word where e / 32 is even: lanes of a vector stay lanes.
constexpr int64_t kRoundingBlock = 256;

inline uint64_t rounding_counter_high(uint32_t parameter, uint32_t step) {
  return static_cast<uint64_t>(parameter) << 32 | step;
}

inline uint32_t rounding_bits(uint64_t seed, uint32_t parameter, uint32_t step, uint64_t offset) {
  const uint64_t block = offset / kRoundingBlock;
  const auto e = static_cast<uint32_t>(offset % kRoundingBlock);
  const auto words = philox(seed, block * 32 + e % 32, rounding_counter_high(parameter, step));
  const uint32_t word = words[e / 64];
  return (e / 32) % 2 == 0 ? word & 0xffffu : word >> 16;
}

// bits: 16 random bits. NaN stays NaN.
inline bf16 round_stochastically(float value, uint32_t bits) {
  const auto u = std::bit_cast<uint32_t>(value);
  if ((u & 0x7fffffffu) >= 0x7f800000u) return bf16(value);
  bf16 result;
  result.bits = static_cast<uint16_t>((u + bits) >> 16);
  return result;
}

}  // namespace gorgon
