#include "kernels/block_linear.h"

#include <cmath>
#include <cstring>
#include <random>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "kernels/block_panels.h"
#include "kernels/dequantise.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

// Random blocks whose scales (f16 wherever a block type has them) are small and finite; minima that put the
// mean near zero, so that terms of a sum are as good as independent.
WeightMatrix random_blocks(DType type, int64_t rows, int64_t columns, std::mt19937& generator) {
  const int64_t bytes = bytes_of(type, rows * columns), block = traits(type).block_bytes;
  Tensor storage(DType::u8, {bytes});
  for (int64_t i = 0; i < bytes; ++i) storage.as<uint8_t>()[i] = static_cast<uint8_t>(generator());
  const bool five = type == DType::q5_1 || type == DType::q5_k, k_block = block > 100;
  const float d = 0.031f, middle = d * (five ? 15.5f : 7.5f);
  const uint16_t scale = f32_to_f16(d), min = f32_to_f16(k_block ? middle : -middle);
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

// The matrix as it is and, where its type has them, in panels.
std::vector<WeightMatrix> layouts(const WeightMatrix& weight) {
  std::vector<WeightMatrix> all = {weight};
  if (has_panels(weight.type)) all.push_back(to_panels(weight, Stream(Device{}, 2)));
  return all;
}

// Mean square of y - x plain^T, divided by that of the product, in f64.
double normalised_error(const Tensor& x, const Tensor& plain, const Tensor& y) {
  const int64_t columns = x.shape()[1], rows = plain.shape()[0];
  double error = 0, norm = 0;
  for (int64_t i = 0; i < x.shape()[0]; ++i) {
    for (int64_t n = 0; n < rows; ++n) {
      double expected = 0;
      for (int64_t k = 0; k < columns; ++k) {
        const int64_t at = i * columns + k;
        const auto value = x.type() == DType::f32 ? x.as<float>()[at] : static_cast<float>(x.as<bf16>()[at]);
        expected += static_cast<double>(value) * plain.as<float>()[n * columns + k];
      }
      error += std::pow(expected - y.as<float>()[i * rows + n], 2);
      norm += expected * expected;
    }
  }
  return error / norm;
}

Tensor rounded(const std::vector<float>& values, Shape shape) {
  std::vector<bf16> all;
  for (const float value : values) all.emplace_back(value);
  return Tensor::of(all, shape);
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
      for (const WeightMatrix& as_laid_out : layouts(weight)) {
        Tensor y(DType::f32, {m, rows});
        block_linear(x.view(), as_laid_out, y.view(), Write::overwrite, stream);
        // f32 sums of 512 terms in two chains of 256: some 1e-7 relative, squared.
        EXPECT_LT(normalised_error(x, plain, y), 1e-12) << name(type) << " " << m;
      }
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
    for (const WeightMatrix& as_laid_out : layouts(weight)) {
      block_linear(unit.view(), as_laid_out, y.view(), Write::overwrite, stream);
      for (int64_t k = 0; k < 256; ++k) {
        for (int64_t n = 0; n < 3; ++n)
          ASSERT_EQ(y.as<float>()[k * 3 + n], plain.as<float>()[n * 256 + k]) << name(type);
      }
    }
  }
}

// x in bf16 beside panels: 15 bits for each 32 columns. An error of at most 2^-15 of the largest of 32 normal
// numbers (some 2.5), uniform: 2^-15 2.5 / sqrt(3) = 4.4e-5 a term; squared 1.9e-9 in the mean, and
// few sums scatter around that. Weights rounded to bf16 would make it 1e-6.
TEST(BlockLinear, TakesBf16InFifteenBits) {
  std::mt19937 generator(5);
  const Stream stream(Device{}, 2);
  for (const DType type : kTypes) {
    const WeightMatrix weight = random_blocks(type, 70, 512, generator), panels = to_panels(weight, stream);
    Tensor plain(DType::f32, {70, 512});
    dequantise(weight, 0, plain.view(), stream);
    for (const int64_t m : {1, 2, 7, 8, 19}) {
      const Tensor x = rounded(random_values(m * 512, generator), {m, 512});
      Tensor y(DType::f32, {m, 70});
      block_linear(x.view(), panels, y.view(), Write::overwrite, stream);
      EXPECT_LT(normalised_error(x, plain, y), 4e-9) << name(type) << " " << m;
    }
  }
}

// Integers that 15 bits hold exactly, and weights that are integers: the product is exact. The largest sums
// that 32 bits have to hold are among them.
TEST(BlockLinear, LargestIntegersStayExact) {
  const Stream stream(Device{}, 1);
  std::vector<uint8_t> block = {0x00, 0x3c};  // a scale of 1
  block.insert(block.end(), 32, 0x80);        // -128, read as 0; then 127
  std::vector<uint8_t> blocks = block;
  std::fill(block.begin() + 2, block.end(), uint8_t{127});
  blocks.insert(blocks.end(), block.begin(), block.end());
  const WeightMatrix weight{DType::q8_0, 2, 32, std::make_shared<const Tensor>(Tensor::of(blocks, {68}))};
  for (const float sign : {1.0f, -1.0f}) {
    const Tensor x = rounded(std::vector<float>(32, sign * 16384), {1, 32});
    Tensor y(DType::f32, {1, 2});
    block_linear(x.view(), to_panels(weight, stream), y.view(), Write::overwrite, stream);
    // Two f32 roundings of sums near 2^27.
    EXPECT_NEAR(y.as<float>()[0], sign * 16384 * 32 * -128, 32);
    EXPECT_NEAR(y.as<float>()[1], sign * 16384 * 32 * 127, 32);
  }
}

// For every instruction set that this chip has.
TEST(BlockLinear, ARowDoesNotDependOnItsCompany) {
  std::mt19937 generator(3);
  std::vector<WeightMatrix> matrices = {random_blocks(DType::q4_1, 130, 256, generator)};
  for (const DType type : kTypes) {
    matrices.push_back(to_panels(random_blocks(type, 130, 256, generator), Stream(Device{}, 2)));
  }
  const std::vector<float> values = random_values(19 * 256, generator);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const Tensor& x : {Tensor::of(values, {19, 256}).to({}), rounded(values, {19, 256}).to({})}) {
      for (const WeightMatrix& weight : matrices) {
        Tensor all(DType::f32, {19, 130});
        block_linear(x.view(), weight, all.view(), Write::overwrite, Stream(Device{}, 3));
        for (int64_t i = 0; i < 19; ++i) {
          Tensor one(DType::f32, {1, 130});
          block_linear(x.view().rows(i, i + 1), weight, one.view(), Write::overwrite, Stream(Device{}, 1));
          EXPECT_EQ(std::memcmp(one.data(), all.data() + i * 130 * 4, 130 * 4), 0)
              << hwy::TargetName(target) << " " << name(weight.type) << " " << i;
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

// f32 in panels, in rows and as plain numbers: one way of summing.
TEST(BlockLinear, F32HasTheBitsOfGemm) {
  std::mt19937 generator(6);
  const Stream stream(Device{}, 2);
  for (const DType type : kTypes) {
    const int64_t columns = traits(type).block_elements == 32 ? 608 : 768;
    const Tensor x = Tensor::of(random_values(9 * columns, generator), {9, columns});
    const WeightMatrix weight = random_blocks(type, 100, columns, generator);
    Tensor plain(DType::f32, {100, columns}), wanted(DType::f32, {9, 100}), y(DType::f32, {9, 100});
    dequantise(weight, 0, plain.view(), stream);
    gemm(x.view(), plain.view(), wanted.view(), {false, true}, stream);
    for (const WeightMatrix& as_laid_out : layouts(weight)) {
      block_linear(x.view(), as_laid_out, y.view(), Write::overwrite, stream);
      EXPECT_EQ(std::memcmp(y.data(), wanted.data(), static_cast<size_t>(y.bytes())), 0) << name(type);
    }
  }
}

// The largest of 32 is kept to f16's rounding of its scale (2^-11), the rest to half a step of largest / 127.
TEST(BlockPanels, EightBitsKeepHalfAStep) {
  std::mt19937 generator(8);
  const Stream stream(Device{}, 2);
  const std::vector<float> values = random_values(5 * 96, generator);
  const Tensor narrow = rounded(values, {5, 96}), wide = Tensor::of(values, {5, 96});
  for (const Tensor* x : {&narrow, &wide}) {
    Tensor back(DType::f32, {5, 96});
    dequantise(quantise_to_panels(x->view(), stream), 0, back.view(), stream);
    const auto value = [&](int64_t i) {
      return x == &wide ? wide.as<float>()[i] : static_cast<float>(narrow.as<bf16>()[i]);
    };
    for (int64_t begin = 0; begin < back.elements(); begin += 32) {
      float largest = 0;
      for (int64_t i = begin; i < begin + 32; ++i) largest = std::max(largest, std::abs(value(i)));
      for (int64_t i = begin; i < begin + 32; ++i) {
        ASSERT_NEAR(back.as<float>()[i], value(i), largest * (0.5 / 127 + 0x1p-11)) << i;
      }
    }
  }
  EXPECT_THROW(quantise_to_panels(Tensor::zeros(DType::f32, {2, 33}).view(), stream), Error);
}

// The exact product of x's integers of 15 bits, for every instruction set: they differ in how integers are
// multiplied and in the rounding of sums in f32 (SSE4 has no fused products), 8 groups of some 1e-7.
TEST(BlockLinear, InstructionSetsAgree) {
  std::mt19937 generator(9);
  const Stream stream(Device{}, 2);
  const Tensor x = rounded(random_values(5 * 256, generator), {5, 256});
  for (const DType type : kTypes) {
    const WeightMatrix panels = to_panels(random_blocks(type, 33, 256, generator), stream);
    Tensor best(DType::f32, {5, 33}), y(DType::f32, {5, 33});
    block_linear(x.view(), panels, best.view(), Write::overwrite, stream);
    double norm = 0;
    for (int64_t i = 0; i < best.elements(); ++i) norm += std::pow(best.as<float>()[i], 2);
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      hwy::SetSupportedTargetsForTest(target);
      block_linear(x.view(), panels, y.view(), Write::overwrite, stream);
      double error = 0;
      for (int64_t i = 0; i < y.elements(); ++i) error += std::pow(y.as<float>()[i] - best.as<float>()[i], 2);
      EXPECT_LT(error / norm, 1e-12) << name(type) << " " << hwy::TargetName(target);
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST(BlockPanels, RowsComeOutAsTheyWentIn) {
  std::mt19937 generator(7);
  const Stream stream(Device{}, 2);
  for (const DType type : kTypes) {
    const WeightMatrix weight = random_blocks(type, 37, 512, generator), panels = to_panels(weight, stream);
    for (const DType out : {DType::f32, DType::bf16}) {
      Tensor some(out, {35, 512}), wanted(out, {35, 512});
      dequantise(panels, 2, some.view(), stream);
      dequantise(weight, 2, wanted.view(), stream);
      for (int64_t i = 0; i < some.elements(); ++i) {  // as numbers: 0 may come back from -0
        const auto value = [&](const Tensor& t) {
          return out == DType::f32 ? t.as<float>()[i] : static_cast<float>(t.as<bf16>()[i]);
        };
        ASSERT_EQ(value(some), value(wanted)) << name(type) << " " << i;
      }
    }
  }
  const WeightMatrix other{DType::nf4, 2, 64, std::make_shared<const Tensor>(Tensor::zeros(DType::u8, {72}))};
  EXPECT_THROW(to_panels(other, stream), Error);
}

TEST(BlockLinear, AddsAndRounds) {
  std::mt19937 generator(4);
  const Stream stream(Device{}, 2);
  const WeightMatrix weight = random_blocks(DType::q8_0, 40, 64, generator);
  const Tensor x = rounded(random_values(2 * 64, generator), {2, 64});
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
