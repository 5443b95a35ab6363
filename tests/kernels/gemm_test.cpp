#include "kernels/gemm.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "kernels/dequantise.h"
#include "kernels/error.h"
#include "tests/kernels/on_device.h"

namespace gorgon {
namespace {

float value(ConstView matrix, int64_t i, int64_t j) {
  const int64_t at = i * matrix.stride() + j;
  return matrix.type == DType::f32 ? matrix.as<float>()[at] : static_cast<float>(matrix.as<bf16>()[at]);
}

// Uniform in [-1, 1); `extra` columns behind every row that no product may touch.
Tensor random_matrix(DType type, int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  Tensor matrix(type, {rows, columns});
  for (int64_t i = 0; i < rows * columns; ++i) {
    const float x = uniform(random);
    if (type == DType::f32) {
      matrix.as<float>()[i] = x;
    } else {
      matrix.as<bf16>()[i] = bf16(x);
    }
  }
  return matrix;
}

struct Case {
  int64_t m, n, k;
  DType in, out;
  bool transpose_a, transpose_b;
  Write write = Write::overwrite;
};

// Normalised root mean square error of c against plain loops in f64. Exact inputs, f32 sums of k terms: the
// error grows like sqrt(k) * 2^-24; a bf16 result adds its rounding, 2^-9.
void check(const Case& t, const Stream& stream) {
  const auto whole = [&](bool transpose, int64_t rows, int64_t columns, unsigned seed) {
    return transpose ? random_matrix(t.in, columns, rows + 3, seed)
                     : random_matrix(t.in, rows, columns + 3, seed);
  };
  const Tensor a_all = whole(t.transpose_a, t.m, t.k, 1), b_all = whole(t.transpose_b, t.k, t.n, 2);
  Tensor c_all = random_matrix(t.out, t.m, t.n + 5, 3);
  const Tensor before = c_all.to({});
  const ConstView a = a_all.view().columns(1, 1 + (t.transpose_a ? t.m : t.k));
  const ConstView b = b_all.view().columns(2, 2 + (t.transpose_b ? t.k : t.n));
  const View c = c_all.view().columns(2, 2 + t.n);
  on_device(stream, gemm, a, b, c, GemmOptions{t.transpose_a, t.transpose_b, t.write});

  double error = 0, norm = 0;
  for (int64_t i = 0; i < t.m; ++i) {
    for (int64_t j = 0; j < t.n; ++j) {
      double sum = t.write == Write::accumulate ? value(before.view(), i, j + 2) : 0.0;
      for (int64_t k = 0; k < t.k; ++k) {
        sum += static_cast<double>(t.transpose_a ? value(a, k, i) : value(a, i, k)) *
               (t.transpose_b ? value(b, j, k) : value(b, k, j));
      }
      error += std::pow(value(c, i, j) - sum, 2);
      norm += sum * sum;
    }
    for (const int64_t j : {int64_t{0}, int64_t{1}, t.n + 2, t.n + 3, t.n + 4}) {
      ASSERT_EQ(value(c_all.view(), i, j), value(before.view(), i, j)) << "outside the view";
    }
  }
  const double bound = t.out == DType::bf16 ? 3e-3 : 1e-6;
  EXPECT_LT(std::sqrt(error), bound * std::sqrt(norm) + 1e-30)
      << t.m << " x " << t.n << " x " << t.k << " " << name(t.in) << " -> " << name(t.out) << " "
      << t.transpose_a << t.transpose_b;
}

TEST(Gemm, EqualsPlainLoops) {
  const Stream stream(test_device(), 2);
  for (const auto& [m, n, k] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {1, 1, 1}, {1, 70, 33}, {3, 5, 7}, {17, 129, 64}, {65, 96, 577}, {130, 600, 40}, {300, 20, 300}}) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        for (const DType in : {DType::f32, DType::bf16}) {
          check({m, n, k, in, DType::f32, transpose_a, transpose_b}, stream);
          check({m, n, k, in, DType::f32, transpose_a, transpose_b, Write::accumulate}, stream);
          check({m, n, k, in, DType::bf16, transpose_a, transpose_b}, stream);
        }
      }
    }
  }
}

TEST(Gemm, LongSumsAcrossSeveralRangesOfK) {
  const Stream stream(test_device(), 2);
  for (const DType in : {DType::f32, DType::bf16}) {
    check({9, 40, 5000, in, DType::f32, false, true}, stream);
    check({9, 40, 5000, in, DType::bf16, true, false}, stream);
    check({9, 40, 5000, in, DType::f32, false, false, Write::accumulate}, stream);
    // Long enough for sums that are cut along k.
    check({12, 40, 9001, in, DType::f32, false, false, Write::accumulate}, stream);
    check({12, 40, 9001, in, DType::f32, true, true}, stream);
    check({12, 40, 9001, in, DType::bf16, false, false}, stream);
  }
}

TEST(Gemm, SameBitsForAnyNumberOfThreads) {
  const Stream one(test_device(), 1), many(test_device(), 5);
  for (const DType in : {DType::f32, DType::bf16}) {
    // At 21,000, one thread adds the pieces that k is cut into in two rounds, five threads in one.
    for (const int64_t k : {200, 9000, 21000}) {
      const Tensor a = random_matrix(in, 301, k, 1), b = random_matrix(in, 530, k, 2);
      Tensor first(DType::f32, {301, 530}), second(DType::f32, {301, 530});
      on_device(one, gemm, a.view(), b.view(), first.view(), GemmOptions{false, true});
      on_device(many, gemm, a.view(), b.view(), second.view(), GemmOptions{false, true});
      for (int64_t i = 0; i < first.elements(); ++i) {
        ASSERT_EQ(first.as<float>()[i], second.as<float>()[i]);
      }
    }
  }
}

// A token decoded alone must equal the same token in a prefill. Shapes of SmolLM2's layers and others; every
// instruction set that the chip has.
TEST(Gemm, RowsDoNotDependOnTheRowsBesideThemInF32) {
  const Stream stream(test_device(), 2);
  struct Layer {
    int64_t n, k;
    bool transpose_b;
  };
  for (const Layer& layer : {Layer{960, 576, true},
                             {576, 1536, true},
                             {1000, 2048, true},
                             {576, 4100, false},
                             {33, 577, true},
                             {1, 64, true}}) {
    constexpr int64_t kRows = 300;
    const Tensor a = random_matrix(DType::f32, kRows, layer.k, 1);
    const Tensor b = layer.transpose_b ? random_matrix(DType::f32, layer.n, layer.k, 2)
                                       : random_matrix(DType::f32, layer.k, layer.n, 2);
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      hwy::SetSupportedTargetsForTest(target);
      Tensor whole(DType::f32, {kRows, layer.n});
      on_device(stream, gemm, a.view(), b.view(), whole.view(), GemmOptions{false, layer.transpose_b});
      for (const int64_t m : {1, 2, 3, 7, 8, 9, 17, 64, 65, 257}) {
        Tensor part(DType::f32, {m, layer.n});
        on_device(stream, gemm, a.view().rows(kRows - m, kRows), b.view(), part.view(),
                  GemmOptions{false, layer.transpose_b});
        ASSERT_EQ(std::memcmp(part.data(), whole.view().rows(kRows - m, kRows).data,
                              static_cast<size_t>(part.bytes())),
                  0)
            << hwy::TargetName(target) << ": " << m << " rows of " << layer.n << " x " << layer.k;
      }
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

// 1,500 rows of blocks: more than linear() turns at a time.
TEST(Linear, OfBlocksEqualsTheProductOfTheirValues) {
  const Stream stream({}, 2);
  constexpr int64_t kRows = 1500, kColumns = 64;
  Tensor blocks(DType::u8, {bytes_of(DType::q8_0, kRows * kColumns)});
  for (int64_t i = 0; i < blocks.bytes(); ++i) {
    const int64_t at = i % 34;  // a scale of half precision, 32 signed bytes
    blocks.as<uint8_t>()[i] = static_cast<uint8_t>(at == 0 ? 0 : at == 1 ? 0x20 : i * 37);
  }
  const WeightMatrix weight{DType::q8_0, kRows, kColumns, std::make_shared<Tensor>(std::move(blocks))};
  for (const DType type : {DType::f32, DType::bf16}) {
    Tensor values(type, {kRows, kColumns});
    dequantise(weight, 0, values.view(), stream);
    const Tensor x = random_matrix(type, 5, kColumns, 1);
    Tensor y = random_matrix(DType::f32, 5, kRows, 2), wanted = y.to({});
    linear(x.view(), weight, y.view(), Write::accumulate, stream);
    gemm(x.view(), values.view(), wanted.view(), {false, true, Write::accumulate}, stream);
    for (int64_t i = 0; i < y.elements(); ++i) {
      // Sums of 64 terms in another order; beside bf16 x also takes 15 bits (block_linear.h): half a step of
      // at most 1 / 16383 for each weight.
      double bound = 1e-5 * (1 + std::abs(wanted.as<float>()[i]));
      for (int64_t k = 0; k < kColumns && type == DType::bf16; ++k) {
        bound += std::abs(static_cast<float>(values.as<bf16>()[i % kRows * kColumns + k])) / (2 * 16383.0);
      }
      ASSERT_NEAR(y.as<float>()[i], wanted.as<float>()[i], bound);
    }
    EXPECT_NE(y.as<float>()[kRows - 1], random_matrix(DType::f32, 5, kRows, 2).as<float>()[kRows - 1]);
  }
}

// tf32 keeps 10 bits of an operand's fraction: products of random numbers err by some 2^-11, f32's by 2^-24.
// A CPU has no tf32 and must give the same bits.
TEST(Gemm, Tf32OnAGpuAlone) {
  const Tensor a = random_matrix(DType::f32, 64, 256, 1), b = random_matrix(DType::f32, 128, 256, 2);
  const auto product = [&](bool tf32) {
    Tensor c(DType::f32, {64, 128});
    const Stream stream(test_device(), StreamOptions{.threads = 1, .tf32 = tf32});
    on_device(stream, gemm, a.view(), b.view(), c.view(), GemmOptions{false, true});
    return c;
  };
  const Tensor exact = product(false), rounded = product(true);
  double error = 0, norm = 0;
  for (int64_t i = 0; i < exact.elements(); ++i) {
    error += std::pow(exact.as<float>()[i] - rounded.as<float>()[i], 2);
    norm += std::pow(exact.as<float>()[i], 2);
  }
  const double relative = std::sqrt(error / norm);
  if (test_device().kind == DeviceKind::cpu) {
    EXPECT_EQ(relative, 0);
  } else {
    EXPECT_LT(relative, 2e-3);
    EXPECT_GT(relative, 1e-6) << "tf32 was not used";
  }
}

TEST(Gemm, NothingToSum) {
  const Stream stream(test_device(), 2);
  const Tensor a(DType::f32, {4, 0}), b(DType::f32, {6, 0});
  Tensor c = random_matrix(DType::f32, 4, 6, 1);
  on_device(stream, gemm, a.view(), b.view(), c.view(), GemmOptions{false, true, Write::accumulate});
  EXPECT_NE(c.as<float>()[5], 0.0f);
  on_device(stream, gemm, a.view(), b.view(), c.view(), GemmOptions{false, true, Write::overwrite});
  for (int64_t i = 0; i < 24; ++i) EXPECT_EQ(c.as<float>()[i], 0.0f);
}

TEST(Gemm, RefusesShapesThatDoNotMatch) {
  const Stream stream(test_device(), 1);
  const Tensor a(DType::f32, {4, 3}), b(DType::f32, {6, 5});
  Tensor c(DType::f32, {4, 6});
  EXPECT_THROW(on_device(stream, gemm, a.view(), b.view(), c.view(), GemmOptions{false, true}), Error);
}

}  // namespace
}  // namespace gorgon
