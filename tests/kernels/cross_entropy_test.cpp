#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/vocabulary_cross_entropy.h"
#include "tests/kernels/on_device.h"
#include "tests/kernels/random_matrix.h"

namespace gorgon {
namespace {

constexpr int64_t kHidden = 24;

double at(ConstView m, int64_t i, int64_t j) {
  const int64_t k = i * m.stride() + j;
  return m.type == DType::f32 ? m.as<float>()[k] : static_cast<double>(static_cast<float>(m.as<bf16>()[k]));
}

// Buffers of one range of the vocabulary; logits with spare columns behind every row.
struct Range {
  Tensor all, max, sum, label_logit, hits;
  int64_t columns;
  Range(DType type, int64_t rows, int64_t n)
      : all(Tensor::zeros(type, {rows, n + 7})),
        max(DType::f32, {rows}),
        sum(DType::f32, {rows}),
        label_logit(DType::f32, {rows}),
        hits(DType::i32, {rows}),
        columns(n) {}
  View logits() { return all.view().columns(0, columns); }
  CrossEntropyStatistics statistics() { return {max.view(), sum.view(), label_logit.view()}; }
};

struct Reference {
  std::vector<double> loss;
  std::vector<int> hits;
  std::vector<std::vector<double>> gradient;
};

// Plain loops in f64 over the rounded logits.
Reference reference(ConstView logits, const std::vector<int32_t>& labels, const std::vector<float>& scale) {
  Reference r;
  const int64_t n = logits.shape[1];
  for (int64_t i = 0; i < logits.rows(); ++i) {
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < n; ++j) max = std::max(max, at(logits, i, j));
    for (int64_t j = 0; j < n; ++j) sum += std::exp(at(logits, i, j) - max);
    const int label = labels[static_cast<size_t>(i)];
    const bool known = label >= 0 && label < n;
    const double y = known ? at(logits, i, label) : -INFINITY;
    int hits = 0;
    std::vector<double> g(static_cast<size_t>(n));
    for (int64_t j = 0; j < n; ++j) {
      const double z = at(logits, i, j);
      hits += z > y || (z == y && j < label);
      g[static_cast<size_t>(j)] =
          static_cast<double>(scale[static_cast<size_t>(i)]) * (std::exp(z - max) / sum - (j == label));
    }
    r.loss.push_back(max + std::log(sum) - y);
    r.hits.push_back(hits);
    r.gradient.push_back(g);
  }
  return r;
}

class CrossEntropy : public ::testing::TestWithParam<DType> {};

TEST_P(CrossEntropy, AgreesWithPlainLoops) {
  const DType type = GetParam();
  const int64_t rows = 37, n = kVocabularyTile + 1003;  // two tiles, odd tails
  const Tensor x = random_matrix(type, rows, kHidden, 1, 1.0f);
  const Tensor w = random_matrix(type, n, kHidden, 2, 0.5f);
  std::vector<int32_t> labels(static_cast<size_t>(rows));
  std::vector<float> scale(static_cast<size_t>(rows));
  for (size_t i = 0; i < labels.size(); ++i) {
    labels[i] = static_cast<int32_t>(i * 997 % static_cast<size_t>(n));
    scale[i] = 0.01f * static_cast<float>(i % 5);
  }
  labels[3] = 0;
  labels[4] = static_cast<int32_t>(n - 1);
  labels[5] = -100;
  labels[6] = static_cast<int32_t>(n + 9);
  const Tensor label_tensor = Tensor::of(labels, {rows}), scales = Tensor::of(scale, {rows});
  std::vector<Tensor> results;
  for (const int threads : {1, 3}) {
    const Stream stream(test_device(), threads);
    Range r(type, rows, n);
    on_device(stream, cross_entropy_statistics, x.view(), w.view(), label_tensor.view(), 0, r.logits(),
              r.statistics());
    const Reference expected = reference(r.logits(), labels, scale);
    for (int64_t i = 0; i < rows; ++i) {
      const auto k = static_cast<size_t>(i);
      const double loss = static_cast<double>(r.max.as<float>()[i]) +
                          std::log(static_cast<double>(r.sum.as<float>()[i])) -
                          static_cast<double>(r.label_logit.as<float>()[i]);
      if (std::isinf(expected.loss[k])) {
        EXPECT_TRUE(std::isinf(loss));
      } else {
        EXPECT_NEAR(loss, expected.loss[k], 1e-6) << i;  // f32 statistics of 5,000 terms around e^0..e^10
      }
    }
    on_device(stream, cross_entropy_hits, r.logits(), label_tensor.view(), 0, r.statistics(), r.hits.view());
    const Tensor alone = r.hits.to({});
    on_device(stream, cross_entropy_gradient, r.logits(), label_tensor.view(), 0, r.statistics(),
              scales.view(), r.hits.view());
    double error = 0, norm = 0;
    for (int64_t i = 0; i < rows; ++i) {
      const auto k = static_cast<size_t>(i);
      EXPECT_EQ(r.hits.as<int32_t>()[i], expected.hits[k]) << i;
      EXPECT_EQ(alone.as<int32_t>()[i], expected.hits[k]) << i;
      for (int64_t j = 0; j < n; ++j) {
        const double g = expected.gradient[k][static_cast<size_t>(j)];
        error += std::pow(at(r.logits(), i, j) - g, 2);
        norm += g * g;
        if (scale[k] == 0.0f) {
          ASSERT_EQ(at(r.logits(), i, j), 0.0);
        }
      }
      for (int64_t j = n; j < n + 7; ++j) ASSERT_EQ(at(r.all.view(), i, j), 0.0) << "wrote behind the row";
    }
    // f32: a few roundings of 2^-24 each; bf16: the gradient is rounded once, at most 2^-9.
    EXPECT_LT(std::sqrt(error / norm), type == DType::f32 ? 5e-7 : 2e-3);
    results.push_back(std::move(r.all));
  }
  EXPECT_EQ(std::memcmp(results[0].data(), results[1].data(), static_cast<size_t>(results[0].bytes())), 0)
      << "bits depend on the number of threads";
}

TEST_P(CrossEntropy, RangesTogetherAreTheWhole) {
  const DType type = GetParam();
  const Stream stream(test_device(), 2);
  const int64_t rows = 9, n = 1000, cut = 417;
  const Tensor x = random_matrix(type, rows, kHidden, 3, 1.0f);
  const Tensor w = random_matrix(type, n, kHidden, 4, 1.0f);
  const std::vector<int32_t> labels = {0, 416, 417, 999, 500, 3, -1, 998, 77};
  const std::vector<float> scale(static_cast<size_t>(rows), 0.25f);
  const Tensor label = Tensor::of(labels, {rows}), scales = Tensor::of(scale, {rows});
  Range whole(type, rows, n), left(type, rows, cut), right(type, rows, n - cut);
  on_device(stream, cross_entropy_statistics, x.view(), w.view(), label.view(), 0, whole.logits(),
            whole.statistics());
  on_device(stream, cross_entropy_statistics, x.view(), w.view().rows(0, cut), label.view(), 0, left.logits(),
            left.statistics());
  on_device(stream, cross_entropy_statistics, x.view(), w.view().rows(cut, n), label.view(), cut,
            right.logits(), right.statistics());
  Range none(type, rows, 0);
  on_device(stream, cross_entropy_statistics, x.view(), w.view().rows(cut, cut), label.view(), cut,
            none.logits(), none.statistics());
  Tensor parts(DType::f32, {3, 3, rows});
  int64_t to = 0;
  for (Range* range : {&left, &none, &right}) {
    for (const Tensor* t : {&range->max, &range->sum, &range->label_logit}) {
      std::memcpy(parts.as<float>() + to++ * rows, t->data(), static_cast<size_t>(t->bytes()));
    }
  }
  on_device(stream, merge_ranges, parts.view(), left.statistics());
  on_device(stream, merge_ranges, parts.view(), right.statistics());
  for (int64_t i = 0; i < rows; ++i) {
    const float s = whole.sum.as<float>()[i];
    EXPECT_EQ(left.max.as<float>()[i], whole.max.as<float>()[i]);
    EXPECT_EQ(left.label_logit.as<float>()[i], whole.label_logit.as<float>()[i]);
    EXPECT_NEAR(left.sum.as<float>()[i], s, 1e-6f * s);
  }
  on_device(stream, cross_entropy_gradient, whole.logits(), label.view(), 0, whole.statistics(),
            scales.view(), whole.hits.view());
  on_device(stream, cross_entropy_gradient, left.logits(), label.view(), 0, left.statistics(), scales.view(),
            left.hits.view());
  on_device(stream, cross_entropy_gradient, right.logits(), label.view(), cut, right.statistics(),
            scales.view(), right.hits.view());
  for (int64_t i = 0; i < rows; ++i) {
    EXPECT_EQ(left.hits.as<int32_t>()[i] + right.hits.as<int32_t>()[i], whole.hits.as<int32_t>()[i]) << i;
    for (int64_t j = 0; j < n; ++j) {
      const double g = j < cut ? at(left.logits(), i, j) : at(right.logits(), i, j - cut);
      // s* differs by rounding: relative 1e-6 in f32, then perhaps one ulp of bf16
      ASSERT_NEAR(g, at(whole.logits(), i, j), std::abs(g) * (type == DType::f32 ? 2e-6 : 8e-3));
    }
  }
}

TEST_P(CrossEntropy, TiesGoToTheLowerId) {
  const Stream stream(test_device(), 1);
  const int64_t n = 40;
  std::vector<float> ones(static_cast<size_t>(n), 1.0f);
  Tensor w(GetParam(), {n, 1}), x(GetParam(), {3, 1});
  for (int64_t i = 0; i < n; ++i) {
    if (GetParam() == DType::f32) w.as<float>()[i] = 1.0f;
    if (GetParam() == DType::bf16) w.as<bf16>()[i] = bf16(1.0f);
  }
  for (int64_t i = 0; i < 3; ++i) {
    if (GetParam() == DType::f32) x.as<float>()[i] = 2.0f;
    if (GetParam() == DType::bf16) x.as<bf16>()[i] = bf16(2.0f);
  }
  const Tensor label = Tensor::of(std::vector<int32_t>{0, 17, -100}, {3});
  Range r(GetParam(), 3, n);
  on_device(stream, cross_entropy_statistics, x.view(), w.view(), label.view(), 0, r.logits(),
            r.statistics());
  on_device(stream, cross_entropy_hits, r.logits(), label.view(), 0, r.statistics(), r.hits.view());
  EXPECT_EQ(r.hits.as<int32_t>()[0], 0);
  EXPECT_EQ(r.hits.as<int32_t>()[1], 17);
  EXPECT_EQ(r.hits.as<int32_t>()[2], 40);  // never matched: a miss for every n
}

TEST_P(CrossEntropy, NotANumberReachesTheLoss) {
  const Stream stream(test_device(), 1);
  for (const float poison :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const int64_t where : {0, 3, 50, 4095, 4096, 4100}) {
      Tensor w = random_matrix(GetParam(), 4101, 1, 5, 1.0f), x = random_matrix(GetParam(), 1, 1, 6, 1.0f);
      if (GetParam() == DType::f32) {
        x.as<float>()[0] = 1.0f;
        w.as<float>()[where] = poison;
      } else {
        x.as<bf16>()[0] = bf16(1.0f);
        w.as<bf16>()[where] = bf16(poison);
      }
      const Tensor label = Tensor::of(std::vector<int32_t>{7}, {1});
      Range r(GetParam(), 1, 4101);
      on_device(stream, cross_entropy_statistics, x.view(), w.view(), label.view(), 0, r.logits(),
                r.statistics());
      EXPECT_TRUE(std::isnan(r.sum.as<float>()[0])) << poison << " at " << where;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CrossEntropy, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& p) { return std::string(name(p.param)); });

// Central differences of the loss in x through the gradient of the logits: dx = g W.
TEST(CrossEntropyGradient, AgreesWithFiniteDifferences) {
  const Stream stream(test_device(), 1);
  const int64_t n = 300;
  const Tensor w = random_matrix(DType::f32, n, kHidden, 7, 0.3f);
  const Tensor label = Tensor::of(std::vector<int32_t>{123}, {1});
  const Tensor one = Tensor::of(std::vector<float>{1.0f}, {1});
  Tensor x = random_matrix(DType::f32, 1, kHidden, 8, 1.0f);
  Range r(DType::f32, 1, n);
  const auto loss = [&] {
    on_device(stream, cross_entropy_statistics, x.view(), w.view(), label.view(), 0, r.logits(),
              r.statistics());
    return static_cast<double>(r.max.as<float>()[0]) + std::log(static_cast<double>(r.sum.as<float>()[0])) -
           static_cast<double>(r.label_logit.as<float>()[0]);
  };
  std::vector<double> slope;
  constexpr float kStep = 0.01f;
  for (int64_t k = 0; k < kHidden; ++k) {
    const float before = x.as<float>()[k];
    x.as<float>()[k] = before + kStep;
    const double up = loss();
    x.as<float>()[k] = before - kStep;
    slope.push_back((up - loss()) / (2.0 * static_cast<double>(kStep)));
    x.as<float>()[k] = before;
  }
  loss();
  on_device(stream, cross_entropy_gradient, r.logits(), label.view(), 0, r.statistics(), one.view(),
            r.hits.view());
  for (int64_t k = 0; k < kHidden; ++k) {
    double dx = 0;
    for (int64_t j = 0; j < n; ++j) dx += at(r.logits(), 0, j) * at(w.view(), j, k);
    // f32 losses around 6 carry 5e-7, over 0.02: 5e-5; the third derivative adds 1e-5
    EXPECT_NEAR(dx, slope[static_cast<size_t>(k)], 1e-4);
  }
}

TEST(CrossEntropyChecks, RefuseOtherShapes) {
  const Stream stream(test_device(), 1);
  const Tensor x = random_matrix(DType::f32, 2, 4, 1, 1.0f), w = random_matrix(DType::f32, 5, 3, 2, 1.0f);
  const Tensor label = Tensor::of(std::vector<int32_t>{0, 1}, {2});
  Range r(DType::f32, 2, 5);
  EXPECT_THROW(on_device(stream, cross_entropy_statistics, x.view(), w.view(), label.view(), 0, r.logits(),
                         r.statistics()),
               Error);
}

}  // namespace
}  // namespace gorgon
