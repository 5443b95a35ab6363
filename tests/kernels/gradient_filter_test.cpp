#include "kernels/gradient_filter.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/convert.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

constexpr int64_t kRows = 5, kColumns = 4500;  // more than one range of a thread
constexpr float kThreshold = 0.01f;

// Values around the threshold in few columns, far below it elsewhere; the last row has no scale.
struct Problem {
  Stream stream{{}, 2};
  Tensor gradient, scale = Tensor::of(std::vector<float>{1.0f, 0.5f, 0.25f, 2.0f, 0.0f}, {kRows});

  explicit Problem(DType type) : gradient(type, {kRows, kColumns}) {
    std::mt19937 random(3);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    Tensor wide(DType::f32, {kRows, kColumns});
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        const float size = j % 7 == i || i == kRows - 1 ? 0.012f : 0.004f;
        wide.as<float>()[i * kColumns + j] = size * uniform(random) * (i == kRows - 1 ? 1.0f : factor(i));
      }
    }
    wide.as<float>()[6] = kThreshold;                         // at the threshold
    wide.as<float>()[13] = std::nextafter(kThreshold, 0.0f);  // and just below it (in bf16 both round alike)
    convert(wide.view(), gradient.view(), stream);
  }
  float factor(int64_t i) const { return scale.as<float>()[i]; }
  float at(int64_t i, int64_t j) const {
    return gradient.type() == DType::f32 ? gradient.as<float>()[i * kColumns + j]
                                         : static_cast<float>(gradient.as<bf16>()[i * kColumns + j]);
  }
};

class GradientFilter : public ::testing::TestWithParam<DType> {};

TEST_P(GradientFilter, KeepsColumnsThatReachTheThresholdInSomeRow) {
  const Problem p(GetParam());
  std::vector<int32_t> expected;
  for (int64_t j = 0; j < kColumns; ++j) {
    bool any = false;
    for (int64_t i = 0; i + 1 < kRows; ++i) any |= std::abs(p.at(i, j)) >= kThreshold * p.factor(i);
    if (any) expected.push_back(static_cast<int32_t>(j));
  }
  ASSERT_GT(expected.size(), 100u);
  ASSERT_LT(expected.size(), 3000u);
  EXPECT_EQ(columns_above(p.gradient.view(), p.scale.view(), kThreshold, p.stream), expected);
  EXPECT_EQ(columns_above(p.gradient.view(), p.scale.view(), kThreshold, Stream({}, 1)), expected);
  EXPECT_EQ(columns_above(p.gradient.view(), p.scale.view(), 0.0f, p.stream).size(), size_t{kColumns});
}

TEST_P(GradientFilter, MovesWhatStaysTogether) {
  Problem p(GetParam());
  const Problem before(GetParam());
  const std::vector<int32_t> columns = {0, 3, 4, 4000, 4499};
  keep_columns(p.gradient.view(), columns, 8, p.stream);
  for (int64_t i = 0; i < kRows; ++i) {
    for (size_t t = 0; t < columns.size(); ++t) {
      EXPECT_EQ(p.at(i, static_cast<int64_t>(t)), before.at(i, columns[t]));
    }
    for (int64_t t = 5; t < 8; ++t) EXPECT_EQ(p.at(i, t), 0.0f);
    EXPECT_EQ(p.at(i, 8), before.at(i, 8));
  }
}

INSTANTIATE_TEST_SUITE_P(Types, GradientFilter, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(ScatterRows, WritesOrAddsTheRowsNamed) {
  const Stream stream({}, 2);
  const Tensor from = Tensor::of(std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2});
  Tensor to = Tensor::of(std::vector<float>(10, 10.0f), {5, 2});
  scatter_rows(from.view(), {1, 4}, to.view(), Write::overwrite, stream);
  scatter_rows(from.view(), {0, 4}, to.view(), Write::accumulate, stream);
  const std::vector<float> expected = {11, 12, 1, 2, 10, 10, 10, 10, 6, 8};
  EXPECT_EQ(std::vector<float>(to.as<float>(), to.as<float>() + 10), expected);
  EXPECT_THROW(scatter_rows(from.view(), {5}, to.view(), Write::overwrite, stream), Error);
}

}  // namespace
}  // namespace gorgon
