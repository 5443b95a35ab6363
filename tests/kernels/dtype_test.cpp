#include "kernels/dtype.h"

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

TEST(F16, EveryFiniteValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f16_to_f32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(f32_to_f16(value), bits) << bits;
  }
}

TEST(F16, RoundsAsTheCompilerDoes) {
  for (uint32_t i = 0; i < 100000; ++i) {
    const float value = std::bit_cast<float>(0x33000000u + i * 2999u);
    ASSERT_EQ(f32_to_f16(value), std::bit_cast<uint16_t>(static_cast<_Float16>(value))) << value;
  }
}

TEST(DTypeTraits, BlocksAreWhole) {
  EXPECT_EQ(bytes_of(DType::q4_1, 64), 40);
  EXPECT_THROW(bytes_of(DType::q4_1, 33), Error);
}

}  // namespace
}  // namespace gorgon
