#include "optim/stochastic_rounding.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace gorgon {
namespace {

TEST(Philox, AnswersTheKnownVectors) {  // of the authors' Random123 library, philox 4x32 10
  const auto zeros = philox(0, 0, 0);
  EXPECT_EQ(zeros, (std::array<uint32_t, 4>{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  const auto ones = philox(~0ull, ~0ull, ~0ull);
  EXPECT_EQ(ones, (std::array<uint32_t, 4>{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
}

TEST(StochasticRounding, RoundsUpExactlyAsOftenAsTheFractionSays) {
  for (const uint32_t fraction : {0u, 1u, 0x4000u, 0x8000u, 0xffffu}) {
    for (const uint32_t sign : {0u, 0x80000000u}) {
      const auto value = std::bit_cast<float>(sign | 0x3f800000u | fraction);
      uint32_t up = 0;
      for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
        const bf16 r = round_stochastically(value, bits);
        const uint16_t below = static_cast<uint16_t>((sign | 0x3f800000u) >> 16);
        ASSERT_TRUE(r.bits == below || r.bits == below + 1);
        up += r.bits != below;
      }
      EXPECT_EQ(up, fraction);
    }
  }
  EXPECT_TRUE(
      std::isnan(static_cast<float>(round_stochastically(std::numeric_limits<float>::quiet_NaN(), 0xffffu))));
  EXPECT_EQ(round_stochastically(std::numeric_limits<float>::infinity(), 0xffffu).bits, 0x7f80);
}

// 2^18 draws of 16 bits: mean 32767.5 with deviation 18918 / 512 = 37; five of them are allowed. Every bit
// and every neighbour's independence likewise.
TEST(StochasticRounding, BitsAreEvenAcrossElementsStepsAndParameters) {
  constexpr int kDraws = 1 << 18;
  for (int axis = 0; axis < 3; ++axis) {
    double sum = 0, product = 0;
    uint32_t before = 0x8000u;
    std::array<int, 16> ones{};
    for (int i = 0; i < kDraws; ++i) {
      const auto k = static_cast<uint32_t>(i);
      const uint32_t bits = axis == 0   ? rounding_bits(7, 3, 5, k)
                            : axis == 1 ? rounding_bits(7, 3, k, 99)
                                        : rounding_bits(7, k, 5, 99);
      ASSERT_LT(bits, 0x10000u);
      sum += bits;
      product += (bits - 32767.5) * (before - 32767.5);
      before = bits;
      for (size_t b = 0; b < 16; ++b) ones[b] += (bits >> b) & 1u;
    }
    EXPECT_NEAR(sum / kDraws, 32767.5, 5 * 37.0) << axis;
    EXPECT_NEAR(product / kDraws / (18918.0 * 18918.0), 0.0, 5.0 / 512.0) << axis;
    for (const int n : ones) EXPECT_NEAR(n, kDraws / 2, 5 * 256) << axis;
  }
}

}  // namespace
}  // namespace gorgon
