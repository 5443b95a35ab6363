#include "kernels/code_map.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "golden.h"

namespace gorgon {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(CodeMap, HasTheBitsOfBitsandbytes) {
  const auto golden = optimizer_golden();
  for (const bool is_signed : {true, false}) {
    const CodeMap& map = is_signed ? signed_code_map() : unsigned_code_map();
    const auto expected = golden[is_signed ? "signed" : "unsigned"].get<std::vector<double>>();
    for (size_t i = 0; i < 256; ++i) EXPECT_EQ(map.values[i], static_cast<float>(expected[i])) << i;
  }
}

TEST(CodeMap, HasItsLandmarks) {
  EXPECT_EQ(signed_code_map().zero, 127);
  EXPECT_EQ(signed_code_map().values[127], 0.0f);
  EXPECT_NEAR(signed_code_map().values[0], -0.99297, 1e-5);
  EXPECT_EQ(signed_code_map().values[255], 1.0f);
  EXPECT_EQ(unsigned_code_map().zero, 0);
  EXPECT_EQ(unsigned_code_map().values[0], 0.0f);
  EXPECT_EQ(unsigned_code_map().values[255], 1.0f);
}

// The definition, by a search over all codes in f64.
int nearest_by_search(const CodeMap& map, float x) {
  int best = 0;
  for (int c = 1; c < 256; ++c) {
    const double d =
        std::abs(static_cast<double>(map.values[static_cast<size_t>(c)]) - static_cast<double>(x));
    const double before =
        std::abs(static_cast<double>(map.values[static_cast<size_t>(best)]) - static_cast<double>(x));
    if (d < before || (d == before && c % 2 == 0)) best = c;
  }
  return best;
}

TEST(CodeMap, NearestIsNearestAndTiesAreEven) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  for (const CodeMap* map : {&signed_code_map(), &unsigned_code_map()}) {
    const bool is_signed = map->zero != 0;
    for (size_t c = 0; c < 255; ++c) {
      const float half = (map->values[c] + map->values[c + 1]) / 2.0f;
      for (const float x : {map->values[c], half, std::nextafter(half, kInfinity),
                            std::nextafter(half, -kInfinity), map->thresholds[c]}) {
        ASSERT_EQ(map->nearest(x), nearest_by_search(*map, x)) << x;
      }
    }
    for (int i = 0; i < 20000; ++i) {
      const float u = uniform(random);
      const float x = (is_signed ? u : std::abs(u)) * std::pow(10.0f, static_cast<float>(-(i % 8)));
      ASSERT_EQ(map->nearest(x), nearest_by_search(*map, x)) << x;
    }
  }
}

TEST(CodeMap, NegativeMomentumNeverBecomesZero) {
  EXPECT_EQ(momentum_code(-1e-12f, 1.0f), 126);
  EXPECT_EQ(momentum_code(1e-12f, 1.0f), 127);
  EXPECT_EQ(momentum_code(0.0f, 1.0f), 127);
  EXPECT_EQ(momentum_code(-1.0f, 1.0f), 0);
  EXPECT_EQ(momentum_code(1.0f, 1.0f), 255);
  EXPECT_EQ(variance_code(1e-12f, 1.0f), 0);
}

}  // namespace
}  // namespace gorgon
