#include <benchmark/benchmark.h>

#include "bench/machine_peak.h"
#include "kernels/block_linear.h"
#include "kernels/block_panels.h"

namespace gorgon::bench {
namespace {

// Products of one step of decoding on SmolLM2 shapes: {rows of x, rows and columns of the weight}. The
// weights of several layers in turn, so that none is left in a cache.
void block_rate(benchmark::State& state, DType blocks, DType x_type) {
  const Stream stream;
  const int64_t m = state.range(0), rows = state.range(1), columns = state.range(2);
  constexpr int64_t kBytes = 100'000'000;
  const int64_t bytes = bytes_of(blocks, rows * columns);
  std::vector<WeightMatrix> weights;
  for (int64_t i = 0; i < 1 + kBytes / bytes; ++i) {
    WeightMatrix weight{blocks, rows, columns, std::make_shared<Tensor>(Tensor::zeros(DType::u8, {bytes}))};
    if (has_panels(blocks)) weight = to_panels(weight, stream);
    weights.push_back(std::move(weight));
  }
  const Tensor x = Tensor::zeros(x_type, {m, columns});
  Tensor y(DType::f32, {m, rows});
  size_t next = 0;
  for (auto _ : state) {
    block_linear(x.view(), weights[next++ % weights.size()], y.view(), Write::overwrite, stream);
  }
  state.counters["weights/s"] =
      benchmark::Counter(static_cast<double>(rows * columns), benchmark::Counter::kIsIterationInvariantRate);
  report_bytes(state, stream, static_cast<double>(bytes));
}

void layers(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "N", "K"})->ArgsProduct({{1, 2, 4, 8, 16, 32}, {3072}, {576}});
  bench->UseRealTime()->Unit(benchmark::kMicrosecond);
}
void vocabulary(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "N", "K"})->ArgsProduct({{1, 2, 4, 8, 16, 32}, {49152}, {576}});
  bench->UseRealTime()->Unit(benchmark::kMicrosecond);
}

BENCHMARK_CAPTURE(block_rate, q4_1_bf16, DType::q4_1, DType::bf16)->Apply(layers);
BENCHMARK_CAPTURE(block_rate, q4_1_f32, DType::q4_1, DType::f32)->Apply(layers);
BENCHMARK_CAPTURE(block_rate, q8_0_bf16, DType::q8_0, DType::bf16)->Apply(vocabulary);
BENCHMARK_CAPTURE(block_rate, q8_0_f32, DType::q8_0, DType::f32)->Apply(vocabulary);
BENCHMARK_CAPTURE(block_rate, q4_k_bf16, DType::q4_k, DType::bf16)->Args({8, 3072, 512})->UseRealTime();
BENCHMARK_CAPTURE(block_rate, q6_k_bf16, DType::q6_k, DType::bf16)->Args({8, 3072, 512})->UseRealTime();

}  // namespace
}  // namespace gorgon::bench
