#include "kernels/dtype.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "kernels/error.h"

namespace gorgon {
namespace {

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(static_cast<float>(bf16(1.0f)), 1.0f);
  EXPECT_EQ(bf16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80);  // tie: stays even
  EXPECT_EQ(bf16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);  // tie: up to even
  EXPECT_EQ(bf16(std::bit_cast<float>(0x3f808001u)).bits, 0x3f81);
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(static_cast<float>(bf16(std::numeric_limits<float>::max()))));
}

// IEEE 754 binary16: sign, 5 bits of exponent (bias 15), 10 of fraction.
float f16_by_definition(uint32_t bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31u);
  const int fraction = static_cast<int>(bits & 1023u);
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>((bits & 0x8000u) != 0 ? -magnitude : magnitude);
}

TEST(F16, EveryFiniteValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f16_to_f32(static_cast<uint16_t>(bits));
    if ((bits & 0x7c00u) == 0x7c00u) {
      ASSERT_FALSE(std::isfinite(value)) << bits;
    } else {
      ASSERT_EQ(value, f16_by_definition(bits)) << bits;
      ASSERT_EQ(f32_to_f16(value), bits) << bits;
    }
  }
}

TEST(F16, RoundsToNearestEven) {
  for (uint32_t i = 0; i < 100000; ++i) {
    const float value = std::bit_cast<float>(0x33000000u + i * 2999u);
    const double ulp = std::ldexp(1.0, std::max(std::ilogb(value), -14) - 10);
    const double nearest = std::nearbyint(value / ulp) * ulp;  // exact: a power of two divides
    const double expected = nearest < 65536 ? nearest : std::numeric_limits<double>::infinity();
    ASSERT_EQ(f16_to_f32(f32_to_f16(value)), expected) << value;
  }
}

TEST(DTypeTraits, BlocksAreWhole) {
  EXPECT_EQ(bytes_of(DType::q4_1, 64), 40);
  EXPECT_THROW(bytes_of(DType::q4_1, 33), Error);
}

}  // namespace
}  // namespace gorgon
