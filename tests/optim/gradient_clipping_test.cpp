#include "optim/gradient_clipping.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/on_device.h"

namespace gorgon {
namespace {

TEST(SquareSum, AgreesWithF64AndNotWithTheThreads) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, 1e-3f);
  for (const int64_t n : {1, 17, 4096, 4097, 100003}) {
    std::vector<float> wide(static_cast<size_t>(n));
    std::vector<bf16> narrow(wide.size());
    double exact = 0, exact_narrow = 0;
    for (size_t i = 0; i < wide.size(); ++i) {
      wide[i] = normal(random);
      narrow[i] = bf16(wide[i]);
      exact += static_cast<double>(wide[i]) * static_cast<double>(wide[i]);
      exact_narrow += std::pow(static_cast<double>(static_cast<float>(narrow[i])), 2);
    }
    const Tensor a = Tensor::of(wide, {n}), b = Tensor::of(narrow, {n});
    std::vector<float> results;
    for (const int threads : {1, 2, 3}) {
      const Stream stream(test_device(), threads);
      Tensor sum(DType::f32, {1});
      on_device(stream, square_sum, a.view(), sum.view());
      results.push_back(*sum.as<float>());
      EXPECT_NEAR(results.back(), exact, 1e-6 * exact);  // f32 sums of at most 4,096 positive terms
      on_device(stream, square_sum, b.view(), sum.view());
      EXPECT_NEAR(*sum.as<float>(), exact_narrow, 1e-6 * exact_narrow);
    }
    EXPECT_EQ(results[0], results[1]);
    EXPECT_EQ(results[0], results[2]);
  }
}

TEST(SquareSum, ShowsWhatIsNotFinite) {
  const Stream stream(test_device(), 1);
  Tensor sum(DType::f32, {1});
  for (const float poison :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {0, 40, 98}) {
      std::vector<float> values(99, 1.0f);
      values[at] = poison;
      const Tensor t = Tensor::of(values, {99});
      on_device(stream, square_sum, t.view(), sum.view());
      EXPECT_FALSE(std::isfinite(*sum.as<float>()));
    }
  }
}

TEST(ClipScale, IsPyTorchs) {
  EXPECT_EQ(clip_scale(0.5, 1.0), 1.0f);
  EXPECT_EQ(clip_scale(4.0, 1.0), static_cast<float>(1.0 / (4.0 + 1e-6)));
  EXPECT_EQ(clip_scale(4.0, 0.0), 1.0f);  // off
  EXPECT_LT(clip_scale(1.0, 1.0), 1.0f);  // 1 / (1 + 1e-6)
}

}  // namespace
}  // namespace gorgon
