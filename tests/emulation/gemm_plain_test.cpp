#include "kernels/cuda/gemm_plain.h"

#include <random>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/on_device.h"

namespace gorgon {
namespace {

// Small whole numbers: every product and sum is exact in f32, and here in bf16 too.
Tensor whole_numbers(DType type, int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  Tensor matrix(type, {rows, columns});
  for (int64_t i = 0; i < rows * columns; ++i) {
    const auto x = static_cast<float>(static_cast<int>(random() % 3) - 1);
    if (type == DType::f32) {
      matrix.as<float>()[i] = x;
    } else {
      matrix.as<bf16>()[i] = bf16(x);
    }
  }
  return matrix;
}
float at(ConstView m, int64_t i, int64_t j) {
  const int64_t k = i * m.stride() + j;
  return m.type == DType::f32 ? m.as<float>()[k] : static_cast<float>(m.as<bf16>()[k]);
}

void check(int64_t m, int64_t n, int64_t k, DType in, DType out, GemmOptions options) {
  const Stream stream(test_device(), 1);
  const Tensor a = options.transpose_a ? whole_numbers(in, k, m + 3, 1) : whole_numbers(in, m, k + 3, 1);
  const Tensor b = options.transpose_b ? whole_numbers(in, n, k + 2, 2) : whole_numbers(in, k, n + 2, 2);
  Tensor c = whole_numbers(out, m, n + 5, 3);
  const Tensor before = c.to({});
  const ConstView av = a.view().columns(1, 1 + (options.transpose_a ? m : k));
  const ConstView bv = b.view().columns(2, 2 + (options.transpose_b ? k : n));
  on_device(stream, cuda::gemm_plain, av, bv, c.view().columns(2, 2 + n), options);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n + 5; ++j) {
      float expected = at(before.view(), i, j);
      if (j >= 2 && j < n + 2) {
        if (options.write == Write::overwrite) expected = 0.0f;
        for (int64_t l = 0; l < k; ++l) {
          expected += (options.transpose_a ? at(av, l, i) : at(av, i, l)) *
                      (options.transpose_b ? at(bv, j - 2, l) : at(bv, l, j - 2));
        }
      }
      ASSERT_EQ(at(c.view(), i, j), expected) << i << ", " << j;
    }
  }
}

TEST(GemmPlain, EveryTypeStrideAndTransposition) {
  for (const auto& [m, n, k] :
       std::vector<std::tuple<int64_t, int64_t, int64_t>>{{1, 1, 1}, {17, 5, 33}, {20, 35, 16}}) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        for (const DType in : {DType::f32, DType::bf16}) {
          check(m, n, k, in, DType::f32, {transpose_a, transpose_b});
          check(m, n, k, in, DType::bf16, {transpose_a, transpose_b});
          check(m, n, k, in, DType::f32, {transpose_a, transpose_b, Write::accumulate});
        }
      }
    }
  }
}

}  // namespace
}  // namespace gorgon
