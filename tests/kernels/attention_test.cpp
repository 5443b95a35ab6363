#include "kernels/attention.h"

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "kernels/error.h"
#include "tests/kernels/on_device.h"
#include "tests/kernels/random_matrix.h"

namespace gorgon {
namespace {

double value(ConstView m, int64_t i, int64_t j) {
  const int64_t at = i * m.stride() + j;
  return m.type == DType::f32 ? m.as<float>()[at] : static_cast<float>(m.as<bf16>()[at]);
}

bool sees(const AttentionSequence& s, const AttentionShape& shape, int64_t token, int64_t key) {
  const int64_t past = s.keys.rows() - s.tokens;
  int64_t place = past + token;
  if (!s.tree.empty()) {
    const int64_t words = (s.tokens + 63) / 64;
    const auto bit = [&](int64_t j) {
      return (s.tree[static_cast<size_t>(token * words + j / 64)] >> (j % 64) & 1) != 0;
    };
    place = past - 1;
    for (int64_t j = 0; j < s.tokens; ++j) place += bit(j) ? 1 : 0;
    if (key >= past) return bit(key - past);
  }
  return key <= place && (shape.window == 0 || key > place - shape.window);
}

// Plain softmax in f64 over the keys that sees() allows.
void expect_equal(ConstView q, const std::vector<AttentionSequence>& sequences, const AttentionShape& shape,
                  ConstView out, double tolerance) {
  const int64_t dim = shape.head_dim;
  for (const AttentionSequence& s : sequences) {
    for (int64_t i = 0; i < s.tokens; ++i) {
      for (int64_t h = 0; h < shape.heads; ++h) {
        const int64_t g = h / (shape.heads / shape.kv_heads);
        std::vector<double> sums(static_cast<size_t>(dim), 0.0);
        double total = 0;
        for (int64_t key = 0; key < s.keys.rows(); ++key) {
          if (!sees(s, shape, i, key)) continue;
          double score = 0;
          for (int64_t d = 0; d < dim; ++d) {
            score += value(q, s.begin + i, h * dim + d) * value(s.keys, key, g * dim + d);
          }
          const double weight = std::exp(score / std::sqrt(static_cast<double>(dim)));
          total += weight;
          for (int64_t d = 0; d < dim; ++d) {
            sums[static_cast<size_t>(d)] += weight * value(s.values, key, g * dim + d);
          }
        }
        for (int64_t d = 0; d < dim; ++d) {
          ASSERT_NEAR(value(out, s.begin + i, h * dim + d), sums[static_cast<size_t>(d)] / total, tolerance)
              << "token " << i << " head " << h;
        }
      }
    }
  }
}

// The CPU's instruction sets; a GPU has but one.
std::vector<int64_t> targets() {
  if (test_device().kind != DeviceKind::cpu) return {0};
  return hwy::SupportedAndGeneratedTargets();
}

struct Case {
  AttentionShape shape;
  std::vector<std::pair<int64_t, int64_t>> sequences;  // earlier tokens, new tokens
};

class AttentionOf : public testing::TestWithParam<Case> {};

// Values are of order one. f32: some 2^-24 times the length of a score's sum and of exp's argument. bf16: one
// rounding of a result of order one.
TEST_P(AttentionOf, EqualsPlainLoops) {
  const Stream stream(test_device(), 3);
  const AttentionShape& shape = GetParam().shape;
  const int64_t kv_width = shape.kv_heads * shape.head_dim;
  for (const auto& [type, tolerance] : {std::pair{DType::f32, 1e-5}, std::pair{DType::bf16, 1.6e-2}}) {
    for (const int64_t target : targets()) {
      hwy::SetSupportedTargetsForTest(target);
      std::vector<AttentionSequence> sequences;
      std::vector<Tensor> memory;
      int64_t tokens = 0;
      for (const auto& [past, fresh] : GetParam().sequences) {
        memory.push_back(
            random_matrix(type, past + fresh, 2 * kv_width + 3, 7 + static_cast<unsigned>(past), 1.5f));
        const View both = memory.back().view();
        sequences.push_back(
            {tokens, fresh, both.columns(0, kv_width), both.columns(kv_width + 3, 2 * kv_width + 3), {}});
        tokens += fresh;
      }
      const Tensor q = random_matrix(type, tokens, shape.heads * shape.head_dim, 3, 1.5f);
      Tensor out(type, q.shape());
      on_device(stream, attention, q.view(), sequences, shape, out.view());
      expect_equal(q.view(), sequences, shape, out.view(), tolerance);
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionOf,
                         testing::Values(Case{{1, 1, 64, 0}, {{0, 1}}},
                                         Case{{9, 3, 64, 0}, {{0, 70}, {0, 5}}},
                                         Case{{4, 4, 20, 0}, {{0, 33}, {40, 1}, {100, 7}}},
                                         Case{{4, 1, 96, 16}, {{0, 90}, {300, 3}}},
                                         Case{{2, 1, 128, 1}, {{0, 40}}}, Case{{2, 2, 256, 50}, {{10, 64}}},
                                         Case{{2, 1, 8, 300}, {{500, 200}}}),
                         [](const auto& test) {
                           const AttentionShape& s = test.param.shape;
                           return "heads" + std::to_string(s.heads) + "of" + std::to_string(s.kv_heads) +
                                  "dim" + std::to_string(s.head_dim) + "window" + std::to_string(s.window);
                         });

class AttentionBits : public testing::Test {
 protected:
  static constexpr int64_t kTokens = 400, kDim = 40;
  const AttentionShape shape_{6, 2, kDim, 290};
  const Stream stream_{test_device(), 2};
  const Tensor q_ = random_matrix(DType::f32, kTokens, 6 * kDim, 1, 1.5f);
  const Tensor k_ = random_matrix(DType::f32, kTokens, 2 * kDim, 2, 1.5f);
  const Tensor v_ = random_matrix(DType::f32, kTokens, 2 * kDim, 3, 1.5f);

  // Tokens [begin, end) against the keys of [0, end).
  Tensor attend(int64_t begin, int64_t end) const {
    Tensor out(DType::f32, {end - begin, 6 * kDim});
    const AttentionSequence sequence{0, end - begin, k_.view().rows(0, end), v_.view().rows(0, end), {}};
    on_device(stream_, attention, q_.view().rows(begin, end), std::vector{sequence}, shape_, out.view());
    return out;
  }
};

TEST_F(AttentionBits, OfATokenAreThoseOfAnyPrefillThatHoldsIt) {
  for (const int64_t target : targets()) {
    hwy::SetSupportedTargetsForTest(target);
    const Tensor whole = attend(0, kTokens);
    for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{
             {0, 1}, {0, 17}, {30, 31}, {63, 66}, {255, 258}, {311, 312}, {130, 399}}) {
      const Tensor part = attend(begin, end);
      ASSERT_EQ(
          std::memcmp(part.data(), whole.view().rows(begin, end).data, static_cast<size_t>(part.bytes())), 0)
          << hwy::TargetName(target) << " " << begin << ".." << end;
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

// A tree of 70 nodes behind 230 tokens: every node must get the bits of its path attended alone, although its
// ancestors lie apart, across vectors, panels and the chunk that ends at key 256.
TEST_F(AttentionBits, OfATreeNodeAreThoseOfItsPathAlone) {
  constexpr int64_t kPast = 230, kNodes = 70, kWords = 2;
  std::vector<int64_t> parent(kNodes, -1);
  std::vector<uint64_t> tree(kNodes * kWords, 0);
  std::mt19937 random(5);
  for (int64_t i = 0; i < kNodes; ++i) {
    if (i > 0) parent[static_cast<size_t>(i)] = static_cast<int64_t>(random() % static_cast<uint64_t>(i));
    for (int64_t a = i; a >= 0; a = parent[static_cast<size_t>(a)]) {
      tree[static_cast<size_t>(i * kWords + a / 64)] |= uint64_t{1} << (a % 64);
    }
  }
  const AttentionSequence all{0, kNodes, k_.view().rows(0, kPast + kNodes), v_.view().rows(0, kPast + kNodes),
                              tree};
  Tensor out(DType::f32, {kNodes, 6 * kDim});
  on_device(stream_, attention, q_.view().rows(kPast, kPast + kNodes), std::vector{all}, shape_, out.view());

  const auto row_bytes = static_cast<size_t>(2 * kDim) * sizeof(float);
  for (int64_t node = 0; node < kNodes; ++node) {
    std::vector<int64_t> path;
    for (int64_t a = node; a >= 0; a = parent[static_cast<size_t>(a)]) path.insert(path.begin(), a);
    Tensor keys = k_.to({}), values = v_.to({});
    for (size_t i = 0; i < path.size(); ++i) {
      const auto to = static_cast<int64_t>(kPast + i), from = kPast + path[i];
      std::memcpy(keys.view().rows(to, to + 1).data, k_.view().rows(from, from + 1).data, row_bytes);
      std::memcpy(values.view().rows(to, to + 1).data, v_.view().rows(from, from + 1).data, row_bytes);
    }
    const auto length = static_cast<int64_t>(kPast + path.size());
    const AttentionSequence alone{0, 1, keys.view().rows(0, length), values.view().rows(0, length), {}};
    Tensor one(DType::f32, {1, 6 * kDim});
    on_device(stream_, attention, q_.view().rows(kPast + node, kPast + node + 1), std::vector{alone}, shape_,
              one.view());
    ASSERT_EQ(std::memcmp(one.data(), out.view().rows(node, node + 1).data, static_cast<size_t>(one.bytes())),
              0)
        << "node " << node;
  }
}

TEST(Attention, RefusesATreeNodeThatDoesNotSeeItself) {
  const Tensor q = random_matrix(DType::f32, 2, 8, 1, 1.5f), kv = random_matrix(DType::f32, 2, 8, 2, 1.5f);
  Tensor out(DType::f32, {2, 8});
  const std::vector<uint64_t> tree = {1, 1};
  const AttentionSequence sequence{0, 2, kv.view(), kv.view(), tree};
  EXPECT_THROW(attention(q.view(), {&sequence, 1}, {1, 1, 8, 0}, out.view(), Stream({}, 1)), Error);
}

}  // namespace
}  // namespace gorgon
