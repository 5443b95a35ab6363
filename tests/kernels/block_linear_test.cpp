#include "kernels/block_linear.h"

#include <cmath>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "kernels/dequantise.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

// Random blocks whose scales (f16 wherever a block type has them) are small and finite.
WeightMatrix random_blocks(DType type, int64_t rows, int64_t columns, std::mt19937& generator) {
  const int64_t bytes = bytes_of(type, rows * columns), block = traits(type).block_bytes;
  Tensor storage(DType::u8, {bytes});
  for (int64_t i = 0; i < bytes; ++i) storage.as<uint8_t>()[i] = static_cast<uint8_t>(generator());
  const uint16_t scale = f32_to_f16(0.031f), min = f32_to_f16(-0.2f);
  for (int64_t at = 0; at < bytes; at += block) {
    uint8_t* to = storage.as<uint8_t>() + at;
    if (type == DType::q6_k) {
      std::memcpy(to + block - 2, &scale, 2);
      continue;
    }
    std::memcpy(to, &scale, 2);
    if (type == DType::q4_1 || type == DType::q5_1 || type == DType::q4_k || type == DType::q5_k)
      std::memcpy(to + 2, &min, 2);
  }
  return {type, rows, columns, std::make_shared<const Tensor>(std::move(storage))};
}

std::vector<float> random_values(int64_t count, std::mt19937& generator) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

constexpr DType kTypes[] = {DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1,
                            DType::q8_0, DType::q4_k, DType::q5_k, DType::q6_k};

TEST(BlockLinear, EqualsTheDequantisedProduct) {
  std::mt19937 generator(1);
  const Stream stream(Device{}, 2);
  const int64_t rows = 70, columns = 512;
  for (const DType type : kTypes) {
    const WeightMatrix weight = random_blocks(type, rows, columns, generator);
    Tensor plain(DType::f32, {rows, columns});
    dequantise(weight, 0, plain.view(), stream);
    for (const int64_t m : {1, 3, 4, 9}) {
      const Tensor x = Tensor::of(random_values(m * columns, generator), {m, columns});
      Tensor y(DType::f32, {m, rows});
      block_linear(x.view(), weight, y.view(), Write::overwrite, stream);
      double error = 0, norm = 0;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t n = 0; n < rows; ++n) {
          double expected = 0;
          for (int64_t k = 0; k < columns; ++k) {
            expected +=
                static_cast<double>(x.as<float>()[i * columns + k]) * plain.as<float>()[n * columns + k];
          }
          error += std::pow(expected - y.as<float>()[i * rows + n], 2);
          norm += expected * expected;
        }
      }
      // f32 sums of 512 terms in 32 chains of 16: some 1e-7 relative, squared.
      EXPECT_LT(error / norm, 1e-12) << name(type) << " " << m;
    }
  }
}

// The first element of each decoded value alone: x is a unit vector, so y is the weight itself, to the bit.
TEST(BlockLinear, DecodesToTheBit) {
  std::mt19937 generator(2);
  const Stream stream(Device{}, 1);
  for (const DType type : kTypes) {
    const WeightMatrix weight = random_blocks(type, 3, 256, generator);
    Tensor plain(DType::f32, {3, 256}), y(DType::f32, {256, 3}), unit = Tensor::zeros(DType::f32, {256, 256});
    dequantise(weight, 0, plain.view(), stream);
    for (int64_t k = 0; k < 256; ++k) unit.as<float>()[k * 257] = 1;
    block_linear(unit.view(), weight, y.view(), Write::overwrite, stream);
    for (int64_t k = 0; k < 256; ++k) {
      for (int64_t n = 0; n < 3; ++n)
        ASSERT_EQ(y.as<float>()[k * 3 + n], plain.as<float>()[n * 256 + k]) << name(type);
    }
  }
}

TEST(BlockLinear, ARowDoesNotDependOnItsCompany) {
  std::mt19937 generator(3);
  const WeightMatrix weight = random_blocks(DType::q4_1, 130, 96, generator);
  const Tensor x = Tensor::of(random_values(11 * 96, generator), {11, 96});
  Tensor all(DType::f32, {11, 130});
  block_linear(x.view(), weight, all.view(), Write::overwrite, Stream(Device{}, 3));
  for (int64_t i = 0; i < 11; ++i) {
    Tensor one(DType::f32, {1, 130});
    block_linear(x.view().rows(i, i + 1), weight, one.view(), Write::overwrite, Stream(Device{}, 1));
    EXPECT_EQ(std::memcmp(one.data(), all.data() + i * 130 * 4, 130 * 4), 0) << i;
  }
}

TEST(BlockLinear, AddsAndRounds) {
  std::mt19937 generator(4);
  const Stream stream(Device{}, 2);
  const WeightMatrix weight = random_blocks(DType::q8_0, 40, 64, generator);
  std::vector<bf16> rounded;
  for (const float value : random_values(2 * 64, generator)) rounded.emplace_back(value);
  const Tensor x = Tensor::of(rounded, {2, 64});
  Tensor y(DType::f32, {2, 40}), sum = Tensor::of(std::vector<float>(80, 2.0f), {2, 40}),
                                 half(DType::bf16, {2, 40});
  block_linear(x.view(), weight, y.view(), Write::overwrite, stream);
  block_linear(x.view(), weight, sum.view(), Write::accumulate, stream);
  block_linear(x.view(), weight, half.view(), Write::overwrite, stream);
  for (int64_t i = 0; i < 80; ++i) {
    EXPECT_EQ(sum.as<float>()[i], 2.0f + y.as<float>()[i]);
    EXPECT_EQ(half.as<bf16>()[i], bf16(y.as<float>()[i]));
  }
  EXPECT_THROW(block_linear(x.view(), weight, half.view(), Write::accumulate, stream), Error);
}

}  // namespace
}  // namespace gorgon
