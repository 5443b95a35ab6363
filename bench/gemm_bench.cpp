#include <vector>

#include <benchmark/benchmark.h>

#include "bench/machine_peak.h"
#include "kernels/gemm.h"

namespace gorgon::bench {
namespace {

// The products of one training step on SmolLM2 shapes: {M, N, K, transpose_a, transpose_b}.
void gemm_rate(benchmark::State& state, DType in, DType out) {
  const Stream stream;
  const int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  const bool transpose_a = state.range(3) != 0, transpose_b = state.range(4) != 0;
  const Tensor a = Tensor::zeros(in, transpose_a ? Shape{k, m} : Shape{m, k});
  const Tensor b = Tensor::zeros(in, transpose_b ? Shape{n, k} : Shape{k, n});
  Tensor c(out, {m, n});
  gemm(a.view(), b.view(), c.view(), {transpose_a, transpose_b, Write::overwrite}, stream);  // touches c
  for (auto _ : state)
    gemm(a.view(), b.view(), c.view(), {transpose_a, transpose_b, Write::overwrite}, stream);
  report_flops(state, stream, in == DType::bf16, 2.0 * static_cast<double>(m * n * k));
}

void training_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "N", "K", "ta", "tb"})
      ->Args({1024, 49152, 576, 0, 1})  // logits of a chunk
      ->Args({1024, 576, 49152, 0, 0})  // gradient of the features
      ->Args({49152, 576, 1024, 1, 0})  // gradient of the Linear
      ->Args({1024, 2880, 576, 0, 1})   // first ResBlocks of five heads
      ->Args({1024, 3072, 576, 0, 1})   // gate and up
      ->Args({1024, 576, 1536, 0, 1})   // down
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

BENCHMARK_CAPTURE(gemm_rate, bf16_to_f32, DType::bf16, DType::f32)->Apply(training_shapes);
BENCHMARK_CAPTURE(gemm_rate, bf16_to_bf16, DType::bf16, DType::bf16)->Apply(training_shapes);
BENCHMARK_CAPTURE(gemm_rate, f32, DType::f32, DType::f32)->Apply(training_shapes);

}  // namespace
}  // namespace gorgon::bench
