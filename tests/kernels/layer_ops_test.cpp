// The frozen layers' small ops against plain loops in f64.
#include <cmath>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/embedding.h"
#include "kernels/error.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary_embedding.h"
#include "kernels/swiglu.h"
#include "tests/kernels/on_device.h"
#include "tests/kernels/random_matrix.h"

namespace gorgon {
namespace {

// f32: a few roundings of 2^-24 each. bf16: one rounding of the result, 2^-9 relative.
struct Row {
  DType type;
  double tolerance;
};
const Row kRows[] = {{DType::f32, 1e-6}, {DType::bf16, 4e-3}};

double value(ConstView m, int64_t i, int64_t j) {
  const int64_t at = i * m.stride() + j;
  return m.type == DType::f32 ? m.as<float>()[at] : static_cast<float>(m.as<bf16>()[at]);
}

void expect_near(ConstView m, double tolerance, const std::function<double(int64_t, int64_t)>& wanted) {
  for (int64_t i = 0; i < m.rows(); ++i) {
    for (int64_t j = 0; j < m.columns(); ++j) {
      const double w = wanted(i, j);
      ASSERT_NEAR(value(m, i, j), w, tolerance * (std::abs(w) + 1e-3)) << i << ", " << j;
    }
  }
}

TEST(RmsNorm, EqualsItsFormula) {
  const Stream stream(test_device(), 2);
  for (const Row& row : kRows) {
    for (const int64_t n : {1, 15, 64, 577}) {
      const Tensor x = random_matrix(DType::f32, 35, n, 1, 3.0f),
                   w = random_matrix(DType::f32, 1, n, 2, 1.0f);
      Tensor y(row.type, {35, n});
      on_device(stream, rms_norm, x.view(), w.view(), 1e-5f, y.view());
      expect_near(y.view(), row.tolerance, [&](int64_t i, int64_t j) {
        double squares = 0;
        for (int64_t k = 0; k < n; ++k) squares += std::pow(value(x.view(), i, k), 2);
        return value(x.view(), i, j) / std::sqrt(squares / static_cast<double>(n) + 1e-5) *
               value(w.view(), 0, j);
      });
    }
  }
}

TEST(Swiglu, EqualsItsFormulaAndNeverOverflows) {
  const Stream stream(test_device(), 2);
  for (const Row& row : kRows) {
    Tensor gate_up = random_matrix(row.type, 19, 2 * 77, 1, 4.0f);
    for (int64_t j = 0; j < 4; ++j) {  // far out on both sides
      const float far[] = {-3e4f, -100.0f, 100.0f, 3e4f};
      if (row.type == DType::f32) {
        gate_up.as<float>()[j] = far[j];
      } else {
        gate_up.as<bf16>()[j] = bf16(far[j]);
      }
    }
    Tensor y(row.type, {19, 77});
    on_device(stream, swiglu, gate_up.view(), y.view());
    expect_near(y.view(), row.tolerance, [&](int64_t i, int64_t j) {
      const double z = value(gate_up.view(), i, j);
      return z / (1 + std::exp(-z)) * value(gate_up.view(), i, 77 + j);
    });
  }
}

TEST(RotaryEmbedding, TurnsPairsByTheirAngle) {
  const Stream stream(test_device(), 2);
  constexpr int64_t kDim = 24, kHeads = 3, kTokens = 40;
  std::vector<float> factors(kDim / 2, 1.0f);
  factors[5] = 8.0f;
  const RotaryTable table = rotary_table(kDim, 10000.0f, factors, 500, {});
  std::vector<int32_t> places(kTokens);
  for (int64_t i = 0; i < kTokens; ++i) places[static_cast<size_t>(i)] = static_cast<int32_t>(i * i % 500);
  const Tensor positions = Tensor::of(places, {kTokens});
  for (const Row& row : kRows) {
    Tensor wide = random_matrix(row.type, kTokens, kDim * kHeads + 10, 1, 1.0f);
    const Tensor before = wide.to({});
    on_device(stream, rotary_embedding, wide.view().columns(0, kDim * kHeads), kDim, positions.view(), table);
    // f32 angles up to 500 radians carry errors of 3e-5.
    const double tolerance = row.type == DType::f32 ? 1e-4 : row.tolerance;
    for (int64_t i = 0; i < kTokens; ++i) {
      for (int64_t j = 0; j < wide.shape()[1]; ++j) {
        const int64_t k = j % kDim, pair = k % (kDim / 2);
        double wanted = value(before.view(), i, j);
        if (j < kDim * kHeads) {
          const double angle = places[static_cast<size_t>(i)] *
                               std::pow(10000.0, -2.0 * static_cast<double>(pair) / kDim) /
                               static_cast<double>(factors[static_cast<size_t>(pair)]);
          const int64_t other = k < kDim / 2 ? j + kDim / 2 : j - kDim / 2;
          wanted = wanted * std::cos(angle) +
                   (k < kDim / 2 ? -1 : 1) * value(before.view(), i, other) * std::sin(angle);
        }
        ASSERT_NEAR(value(wide.view(), i, j), wanted, tolerance * (1 + std::abs(wanted))) << i << ", " << j;
      }
    }
  }
}

TEST(RotaryEmbedding, RefusesAPositionOutsideTheTable) {
  const RotaryTable table = rotary_table(8, 10000.0f, {}, 16, {});
  const Tensor positions = Tensor::of(std::vector<int32_t>{16}, {1});
  Tensor x = Tensor::zeros(DType::f32, {1, 8});
  EXPECT_THROW(rotary_embedding(x.view(), 8, positions.view(), table, Stream({}, 1)), Error);
}

TEST(Embedding, CopiesRowsAndRefusesForeignTokens) {
  const Stream stream(test_device(), 2);
  for (const DType type : {DType::f32, DType::bf16}) {
    const WeightMatrix table{type, 9, 20, std::make_shared<Tensor>(random_matrix(type, 9, 20, 1, 1.0f))};
    const Tensor tokens = Tensor::of(std::vector<int32_t>{8, 0, 3, 3}, {4});
    Tensor x(DType::f32, {4, 20});
    on_device(stream, embedding, tokens.view(), table, x.view());
    expect_near(x.view(), 0.0,
                [&](int64_t i, int64_t j) { return value(table.view(), tokens.as<int32_t>()[i], j); });
    if (stream.device().kind != DeviceKind::cpu) continue;  // the host hears of it from the CPU alone
    for (const int32_t bad : {-1, 9}) {
      const Tensor foreign = Tensor::of(std::vector<int32_t>{0, bad, 0, 0}, {4});
      EXPECT_THROW(on_device(stream, embedding, foreign.view(), table, x.view()), Error);
    }
  }
}

}  // namespace
}  // namespace gorgon
