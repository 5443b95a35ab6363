#include "kernels/resblock.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "tests/kernels/on_device.h"

namespace gorgon {
namespace {

std::vector<float> normal(int64_t n, unsigned seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw(0.0f, scale);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = draw(random);
  return values;
}

Tensor as_type(const std::vector<float>& values, Shape shape, DType type, const Stream& stream) {
  const Tensor from = Tensor::of(values, shape);
  Tensor to(type, shape);
  on_device(stream, convert, from.view(), to.view());
  return to;
}

std::vector<float> floats(const Tensor& t, const Stream& stream) {
  std::vector<float> values(static_cast<size_t>(t.elements()));
  Tensor wide(DType::f32, t.shape());
  on_device(stream, convert, t.view(), wide.view());
  std::memcpy(values.data(), wide.data(), static_cast<size_t>(wide.bytes()));
  return values;
}

class ResBlockOp : public ::testing::TestWithParam<DType> {};

TEST_P(ResBlockOp, AgreesWithPlainLoops) {
  const DType type = GetParam();
  const int64_t rows = 21, n = 151;  // odd tails in rows and columns
  // One rounding to the type at the end; f32 exp and division before it. Values up to 10.
  const double bound = type == DType::f32 ? 1e-6 : 4e-3;
  for (const int threads : {1, 3}) {
    const Stream stream(test_device(), threads);
    std::vector<float> product = normal(rows * n, 1, 3.0f);
    product[0] = 200.0f;
    product[1] = -200.0f;
    product[2] = 0.0f;
    Tensor u = Tensor::of(product, {rows, n});
    const Tensor bias = as_type(normal(n, 2), {n}, type, stream);
    const Tensor x = as_type(normal(rows * n, 3), {rows, n}, type, stream);
    Tensor y(type, {rows, n}), du(type, {rows, n});
    on_device(stream, resblock_forward, u.view(), bias.view(), x.view(), y.view());
    const auto b = floats(bias, stream), xs = floats(x, stream), ys = floats(y, stream);
    const auto dy = normal(rows * n, 4);
    Tensor dy_tensor = Tensor::of(dy, {rows, n});
    Tensor dbias = Tensor::of(std::vector<float>(static_cast<size_t>(n), 0.5f), {n});
    on_device(stream, resblock_backward, dy_tensor.view(), u.view(), du.view(), dbias.view(),
              Write::accumulate);
    const auto dus = floats(du, stream);
    std::vector<double> sums(static_cast<size_t>(n), 0.5);
    for (size_t i = 0; i < product.size(); ++i) {
      const double v = static_cast<double>(product[i]) + static_cast<double>(b[i % static_cast<size_t>(n)]);
      const double s = 1.0 / (1.0 + std::exp(-v));
      const double expected = static_cast<double>(xs[i]) + v * s;
      EXPECT_NEAR(ys[i], expected, bound * (1.0 + std::abs(expected)));
      const double g = static_cast<double>(dy[i]) * s * (1.0 + v * (1.0 - s));
      EXPECT_NEAR(dus[i], g, bound * (1.0 + std::abs(g)));
      sums[i % static_cast<size_t>(n)] += g;
    }
    for (size_t j = 0; j < sums.size(); ++j) EXPECT_NEAR(dbias.as<float>()[j], sums[j], 1e-5);
    on_device(stream, resblock_backward, dy_tensor.view(), u.view(), du.view(), dbias.view(),
              Write::overwrite);
    for (size_t j = 0; j < sums.size(); ++j) EXPECT_NEAR(dbias.as<float>()[j], sums[j] - 0.5, 1e-5);
  }
}

TEST_P(ResBlockOp, IsAnExactIdentityAtZero) {
  const Stream stream(test_device(), 2);
  Tensor u = Tensor::zeros(DType::f32, {5, 67});
  const Tensor bias = Tensor::zeros(GetParam(), {67});
  const Tensor x = as_type(normal(5 * 67, 9), {5, 67}, GetParam(), stream);
  Tensor y(GetParam(), {5, 67});
  on_device(stream, resblock_forward, u.view(), bias.view(), x.view(), y.view());
  EXPECT_EQ(std::memcmp(x.data(), y.data(), static_cast<size_t>(x.bytes())), 0);
}

INSTANTIATE_TEST_SUITE_P(Types, ResBlockOp, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& p) { return std::string(name(p.param)); });

TEST(Convert, RoundsAsTheScalarTypeDoes) {
  const Stream stream(test_device(), 2);
  std::vector<float> values;
  for (uint32_t i = 0; i < 70000; ++i) values.push_back(std::bit_cast<float>(i * 61357u));
  values.push_back(std::numeric_limits<float>::quiet_NaN());
  values.push_back(std::bit_cast<float>(0x7fffffffu));
  values.push_back(std::bit_cast<float>(0x7f800001u));
  const auto n = static_cast<int64_t>(values.size());
  const Tensor narrow = as_type(values, {n}, DType::bf16, stream);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(narrow.as<bf16>()[i].bits, bf16(values[i]).bits) << std::bit_cast<uint32_t>(values[i]);
  }
}

TEST(GatherRows, TakesTheRowsAskedFor) {
  const Stream stream(test_device(), 2);
  const Tensor from = Tensor::of(normal(7 * 3, 1), {7, 3});
  const Tensor index = Tensor::of(std::vector<int32_t>{6, 0, 6, 2}, {4});
  Tensor to(DType::f32, {4, 3});
  on_device(stream, gather_rows, from.view(), index.view(), to.view());
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 3; ++j) {
      EXPECT_EQ(to.as<float>()[i * 3 + j], from.as<float>()[index.as<int32_t>()[i] * 3 + j]);
    }
  }
  if (stream.device().kind != DeviceKind::cpu) return;  // the host hears of a wrong index from the CPU alone
  const Tensor wrong = Tensor::of(std::vector<int32_t>{0, 7, 1, 2}, {4});
  EXPECT_THROW(on_device(stream, gather_rows, from.view(), wrong.view(), to.view()), Error);
}

}  // namespace
}  // namespace gorgon
