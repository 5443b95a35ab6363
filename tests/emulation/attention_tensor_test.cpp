#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/attention.h"
#include "kernels/convert.h"
#include "tests/kernels/on_device.h"

// The tensor-core kernel takes operands that are aligned to 16 bytes; tests/kernels/attention_test.cpp has
// others.
namespace gorgon {
namespace {

struct Case {
  AttentionShape shape;
  std::vector<std::pair<int64_t, int64_t>> sequences;  // earlier tokens, new ones
  int64_t tree_nodes = 0;  // of the last sequence; its new tokens then form a tree
};

Tensor random_matrix(int64_t rows, int64_t columns, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, 1.5f);
  Tensor matrix(DType::bf16, {rows, columns});
  for (int64_t i = 0; i < matrix.elements(); ++i) matrix.as<bf16>()[i] = bf16(normal(random));
  return matrix;
}
Tensor in_f32(ConstView narrow) {
  const Stream stream({}, 1);
  Tensor wide(DType::f32, narrow.shape);
  for (int64_t i = 0; i < narrow.rows(); ++i) {
    convert(narrow.rows(i, i + 1), wide.view().rows(i, i + 1), stream);
  }
  return wide;
}

std::vector<uint64_t> random_tree(int64_t nodes, std::mt19937& random) {
  const int64_t words = (nodes + 63) / 64;
  std::vector<uint64_t> tree(static_cast<size_t>(nodes * words), 0);
  for (int64_t i = 0; i < nodes; ++i) {
    auto* row = tree.data() + i * words;
    if (i > 0) {
      const auto parent = static_cast<int64_t>(random() % static_cast<uint64_t>(i));
      std::copy_n(tree.data() + parent * words, words, row);
    }
    row[i / 64] |= uint64_t{1} << (i % 64);
  }
  return tree;
}

class TensorCoreAttention : public testing::TestWithParam<Case> {};

// Against the CPU in f32 from the same bf16 operands. Results are of order one and rounded to bf16 (2^-9
// relative), as the weights are: normalised, 2^-9 / sqrt(3) each; twice that.
TEST_P(TensorCoreAttention, AgreesWithTheCpuInF32) {
  const Case& t = GetParam();
  std::mt19937 random(11);
  const int64_t width = t.shape.kv_heads * t.shape.head_dim;
  std::vector<Tensor> memory, wide_memory;
  std::vector<AttentionSequence> narrow, wide;
  int64_t tokens = 0;
  for (const auto& [past, fresh] : t.sequences) {
    const int64_t all = past + fresh;
    memory.push_back(random_matrix(all, 2 * width, random));
    const View both = memory.back().view();
    std::vector<uint64_t> tree;
    narrow.push_back({tokens, fresh, both.columns(0, width), both.columns(width, 2 * width), {}});
    wide_memory.push_back(in_f32(both));
    const View both_wide = wide_memory.back().view();
    wide.push_back({tokens, fresh, both_wide.columns(0, width), both_wide.columns(width, 2 * width), {}});
    tokens += fresh;
  }
  const std::vector<uint64_t> tree = random_tree(t.tree_nodes, random);
  if (t.tree_nodes > 0) narrow.back().tree = wide.back().tree = tree;
  const Tensor q = random_matrix(tokens, t.shape.heads * t.shape.head_dim, random), q_wide = in_f32(q.view());
  Tensor out(DType::bf16, q.shape()), expected(DType::f32, q.shape());
  const Stream device(test_device(), 1), host({}, 1);
  on_device(device, attention, q.view(), narrow, t.shape, out.view());
  attention(q_wide.view(), wide, t.shape, expected.view(), host);
  double error = 0, norm = 0;
  for (int64_t i = 0; i < out.elements(); ++i) {
    const double e = static_cast<double>(expected.as<float>()[i]);
    const double difference = static_cast<double>(static_cast<float>(out.as<bf16>()[i])) - e;
    ASSERT_TRUE(std::isfinite(difference)) << i;
    error += difference * difference;
    norm += e * e;
  }
  EXPECT_LT(std::sqrt(error / norm), 2.3e-3);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, TensorCoreAttention,
    testing::Values(Case{{1, 1, 64, 0}, {{0, 1}}}, Case{{4, 2, 64, 0}, {{0, 70}, {0, 5}, {0, 129}}},
                    Case{{2, 1, 64, 0}, {{130, 1}, {64, 64}, {1, 3}}},
                    Case{{2, 2, 96, 16}, {{0, 90}, {100, 3}}}, Case{{4, 1, 128, 0}, {{0, 65}, {77, 20}}},
                    Case{{1, 1, 128, 1}, {{0, 40}}}, Case{{2, 1, 128, 70}, {{0, 150}}},
                    Case{{2, 2, 256, 0}, {{10, 64}, {0, 33}}}, Case{{2, 1, 64, 0}, {{90, 27}}, 27},
                    Case{{1, 1, 128, 0}, {{0, 3}, {61, 70}}, 70}, Case{{2, 1, 64, 50}, {{90, 27}}, 27},
                    Case{{2, 1, 96, 0}, {{33, 20}}, 20}, Case{{1, 1, 256, 40}, {{70, 12}}, 12}));

}  // namespace
}  // namespace gorgon
