#include "model/draft_heads.h"

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/gemm.h"
#include "tests/model/temporary_heads.h"
#include "tests/model/tiny_model.h"

namespace gorgon {
namespace {

class DraftHeadsTest : public testing::Test {
 protected:
  DraftHeadsTest()
      : states_(model_.matrix(3, 32, 5.0)),
        block_(model_.matrix(32, 32, 1.0)),
        bias_(model_.matrix(32, 1, 0.1)) {
    file_.add("0.0.linear.weight", block_);
    file_.add("0.0.linear.bias", bias_, true);
  }

  DraftHeads load() { return DraftHeads::load(file_.write(), model_.weights().lm_head, DType::f32, stream_); }
  std::vector<float> logits(const DraftHeads& heads) {
    Tensor out(DType::f32, {3, heads.outputs()});
    heads.logits(0, states_.view(), out.view(), stream_);
    return {out.as<float>(), out.as<float>() + out.elements()};
  }
  // x + silu(W x + b) times a Linear, in f64.
  std::vector<double> reference(const std::vector<double>& linear, int64_t outputs) const {
    std::vector<double> result;
    for (int64_t s = 0; s < 3; ++s) {
      const float* x = states_.storage->as<float>() + s * 32;
      std::vector<double> y;
      for (int64_t i = 0; i < 32; ++i) {
        double u = bias_.storage->as<float>()[i];
        for (int64_t j = 0; j < 32; ++j)
          u += static_cast<double>(block_.storage->as<float>()[i * 32 + j]) * x[j];
        y.push_back(x[i] + u / (1 + std::exp(-u)));
      }
      for (int64_t o = 0; o < outputs; ++o) {
        double z = 0;
        for (int64_t i = 0; i < 32; ++i)
          z += linear[static_cast<size_t>(o * 32 + i)] * y[static_cast<size_t>(i)];
        result.push_back(z);
      }
    }
    return result;
  }
  static std::vector<double> values(const WeightMatrix& m) {
    return {m.storage->as<float>(), m.storage->as<float>() + m.rows * m.columns};
  }
  // f32 sums of 32 terms of size ~5: some 1e-6 each.
  static void expect_near(const std::vector<float>& found, const std::vector<double>& expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 2e-5) << i;
  }

  TinyModel model_{5};
  Stream stream_{Device{}, 2};
  WeightMatrix states_, block_, bias_;
  TemporaryHeads file_;
};

TEST_F(DraftHeadsTest, OwnLinear) {
  const WeightMatrix own = model_.matrix(24, 32, 1.0);
  file_.add("0.1.weight", own);
  const DraftHeads heads = load();
  EXPECT_EQ(heads.count(), 1);
  EXPECT_EQ(heads.layers(), 1);
  expect_near(logits(heads), reference(values(own), 24));
}

TEST_F(DraftHeadsTest, SharedLinear) {
  expect_near(logits(load()), reference(values(model_.weights().lm_head), 24));
}

TEST_F(DraftHeadsTest, LowRank) {
  const WeightMatrix a = model_.matrix(4, 32, 1.0), b = model_.matrix(24, 4, 1.0);
  file_.add("0.1.A", a);
  file_.add("0.1.B", b);
  std::vector<double> merged = values(model_.weights().lm_head);
  for (size_t o = 0; o < 24; ++o) {
    for (size_t i = 0; i < 32; ++i) {
      for (size_t r = 0; r < 4; ++r) merged[o * 32 + i] += values(b)[o * 4 + r] * values(a)[r * 32 + i];
    }
  }
  expect_near(logits(load()), reference(merged, 24));
}

TEST_F(DraftHeadsTest, PrunedVocabulary) {
  const auto ids = std::make_shared<const Tensor>(Tensor::of(std::vector<int32_t>{2, 7, 20}, {3}));
  file_.add("vocab_ids", DType::i32, {3}, ids);
  const DraftHeads heads = load();
  std::vector<double> kept;
  for (const int64_t id : {2, 7, 20}) {
    for (int64_t i = 0; i < 32; ++i)
      kept.push_back(model_.weights().lm_head.storage->as<float>()[id * 32 + i]);
  }
  EXPECT_EQ(heads.outputs(), 3);
  EXPECT_EQ(heads.token(1), 7);
  expect_near(logits(heads), reference(kept, 3));
  const std::vector<float> row = {1.0f, 2.0f, 2.0f};
  EXPECT_EQ(heads.rank(row, 7), 0);
  EXPECT_EQ(heads.rank(row, 20), 1);
  EXPECT_EQ(heads.rank(row, 2), 2);
  EXPECT_EQ(heads.rank(row, 3), 3);  // outside: behind all
}

// Three heads, with Linears of their own and with shared ones that differ in their low rank: all at once as
// one by one, to the bit.
TEST_F(DraftHeadsTest, FirstHeadsAtOnce) {
  for (const bool shared : {false, true}) {
    TemporaryHeads file;
    for (int k = 0; k < 3; ++k) {
      const std::string head = std::to_string(k);
      file.add(head + ".0.linear.weight", model_.matrix(32, 32, 1.0));
      file.add(head + ".0.linear.bias", model_.matrix(32, 1, 0.1), true);
      file.add(head + ".1.linear.weight", model_.matrix(32, 32, 1.0));
      file.add(head + ".1.linear.bias", model_.matrix(32, 1, 0.1), true);
      if (shared) {
        file.add(head + ".2.A", model_.matrix(4, 32, 1.0));
        file.add(head + ".2.B", model_.matrix(24, 4, 1.0));
      } else {
        file.add(head + ".2.weight", model_.matrix(24, 32, 1.0));
      }
    }
    const DraftHeads heads = DraftHeads::load(file.write(), model_.weights().lm_head, DType::f32, stream_);
    Tensor all(DType::f32, {6, 24}), one(DType::f32, {3, 24});
    heads.first_logits(2, states_.storage->view(), all.view(), stream_);
    for (int k = 0; k < 2; ++k) {
      heads.logits(k, states_.storage->view(), one.view(), stream_);
      EXPECT_EQ(
          std::memcmp(one.data(), all.view().rows(3 * k, 3 * k + 3).data, static_cast<size_t>(one.bytes())),
          0)
          << shared << " " << k;
    }
  }
}

// Weights of 8 bits: errors of half a step of 1 / 127 of the largest of 32, uniform, in two products.
// Relative to normal values that is some 0.0075 each, 0.01 together; five times that is far from any other
// head.
TEST_F(DraftHeadsTest, EightBitsStayNear) {
  file_.add("0.1.weight", model_.matrix(24, 32, 1.0));
  const auto full = logits(load());
  const auto small = logits(
      DraftHeads::load(file_.write(), model_.weights().lm_head, DType::f32, stream_, HeadStorage::q8_0));
  double error = 0, norm = 0;
  for (size_t i = 0; i < full.size(); ++i) {
    error += std::pow(small[i] - full[i], 2);
    norm += std::pow(full[i], 2);
  }
  EXPECT_GT(error, 0);
  EXPECT_LT(std::sqrt(error / norm), 0.05);
}

TEST_F(DraftHeadsTest, RefusesHeadsOfAnotherModel) {
  file_.add("0.1.weight", model_.matrix(25, 32, 1.0));
  try {
    load();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::checkpoint);
    EXPECT_NE(std::string(error.what()).find("0.1.weight: expected [24, 32], found f32 [25, 32]"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(DraftHeadsTest, RefusesTensorsItWouldIgnore) {
  file_.add("0.1.weight", model_.matrix(24, 32, 1.0));
  file_.add("2.0.linear.weight", model_.matrix(32, 32, 1.0));
  EXPECT_THROW(load(), Error);
}

TEST(TopIndices, LargestFirstAndLowestOfEquals) {
  const std::vector<float> values = {1, 5, 3, 5, 2};
  EXPECT_EQ(top_indices(values, 3), (std::vector<int32_t>{1, 3, 2}));
  EXPECT_EQ(top_indices(values, 9), (std::vector<int32_t>{1, 3, 2, 4, 0}));
  EXPECT_TRUE(top_indices(values, 0).empty());
}

}  // namespace
}  // namespace gorgon
