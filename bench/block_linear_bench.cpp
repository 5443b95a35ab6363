#include <benchmark/benchmark.h>

#include "bench/machine_peak.h"
#include "kernels/block_panels.h"
#include "kernels/gemm.h"

namespace gorgon::bench {
namespace {

// Products of one step of decoding on SmolLM2 shapes: {rows of x, rows and columns of the weight}. The
// weights of several layers in turn, so that none is left in a cache.
void product_rate(benchmark::State& state, DType type, DType x_type, const Stream& stream) {
  const int64_t m = state.range(0), rows = state.range(1), columns = state.range(2);
  constexpr int64_t kBytes = 100'000'000;
  const int64_t bytes = bytes_of(type, rows * columns);
  const bool blocks = is_block_quantised(type);
  std::vector<WeightMatrix> weights;
  for (int64_t i = 0; i < 1 + kBytes / bytes; ++i) {
    Tensor zeros = blocks ? Tensor::zeros(DType::u8, {bytes}) : Tensor::zeros(type, {rows, columns});
    WeightMatrix weight{type, rows, columns, std::make_shared<Tensor>(std::move(zeros))};
    if (has_panels(type)) weight = to_panels(weight, stream);
    weights.push_back(std::move(weight));
  }
  const Tensor x = Tensor::zeros(x_type, {m, columns});
  Tensor y(DType::f32, {m, rows});
  size_t next = 0;
  for (auto _ : state) {
    linear(x.view(), weights[next++ % weights.size()], y.view(), Write::overwrite, stream);
  }
  state.counters["weights/s"] =
      benchmark::Counter(static_cast<double>(rows * columns), benchmark::Counter::kIsIterationInvariantRate);
  report_bytes(state, stream, static_cast<double>(bytes));
}

void block_rate(benchmark::State& state, DType blocks, DType x_type) {
  product_rate(state, blocks, x_type, Stream());
}

// With one thread.
void type_rate(benchmark::State& state, DType type) {
  product_rate(state, type, DType::bf16, Stream(Device{}, 1));
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

// Every type of a GGUF on the same matrix, beside bf16.
void types(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "N", "K"})->ArgsProduct({{1, 8}, {3072}, {512}});
  bench->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK_CAPTURE(type_rate, bf16, DType::bf16)->Apply(types);
BENCHMARK_CAPTURE(type_rate, q4_0, DType::q4_0)->Apply(types);
BENCHMARK_CAPTURE(type_rate, q4_1, DType::q4_1)->Apply(types);
BENCHMARK_CAPTURE(type_rate, q5_0, DType::q5_0)->Apply(types);
BENCHMARK_CAPTURE(type_rate, q5_1, DType::q5_1)->Apply(types);
BENCHMARK_CAPTURE(type_rate, q8_0, DType::q8_0)->Apply(types);
BENCHMARK_CAPTURE(type_rate, q4_k, DType::q4_k)->Apply(types);
BENCHMARK_CAPTURE(type_rate, q5_k, DType::q5_k)->Apply(types);
BENCHMARK_CAPTURE(type_rate, q6_k, DType::q6_k)->Apply(types);

}  // namespace
}  // namespace gorgon::bench
