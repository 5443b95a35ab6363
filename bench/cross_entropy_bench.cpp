#include <benchmark/benchmark.h>

#include "bench/machine_peak.h"
#include "bench/numbers.h"
#include "kernels/vocabulary_cross_entropy.h"

namespace gorgon::bench {
namespace {

// One chunk of one head on SmolLM2.
constexpr int64_t kRows = 1024, kHidden = 576, kVocabulary = 49152;

struct Chunk {
  const Stream stream;
  Tensor x, weight, labels, logits;
  Tensor max{DType::f32, {kRows}}, sum{DType::f32, {kRows}}, label{DType::f32, {kRows}};
  Tensor hits{DType::i32, {kRows}}, scale;

  explicit Chunk(DType type)
      : x(numbers(type, {kRows, kHidden}, 4.0f, 1)),
        weight(numbers(type, {kVocabulary, kHidden}, 0.04f, 2)),
        labels(integers(kRows, kVocabulary)),
        logits(type, {kRows, kVocabulary + 64}),
        scale(numbers(DType::f32, {kRows}, 1e-4f, 3)) {}
  View z() { return logits.view().columns(0, kVocabulary); }
  CrossEntropyStatistics statistics() { return {max.view(), sum.view(), label.view()}; }
  void forward() {
    cross_entropy_statistics(x.view(), weight.view(), labels.view(), 0, z(), statistics(), stream);
  }
};

void forward(benchmark::State& state, DType type) {
  Chunk chunk(type);
  chunk.forward();  // touches the logits
  for (auto _ : state) chunk.forward();
  report_flops(state, chunk.stream, type == DType::bf16,
               2.0 * static_cast<double>(kRows * kHidden * kVocabulary));
}

// Logits are read and their gradient is written in place. The gradient of a gradient is as good as the first.
void gradient(benchmark::State& state, DType type) {
  Chunk chunk(type);
  chunk.forward();
  for (auto _ : state) {
    cross_entropy_gradient(chunk.z(), chunk.labels.view(), 0, chunk.statistics(), chunk.scale.view(),
                           chunk.hits.view(), chunk.stream);
  }
  report_bytes(state, chunk.stream, 2.0 * static_cast<double>(bytes_of(type, kRows * kVocabulary)));
}

void hits(benchmark::State& state, DType type) {
  Chunk chunk(type);
  chunk.forward();
  for (auto _ : state) {
    cross_entropy_hits(chunk.z(), chunk.labels.view(), 0, chunk.statistics(), chunk.hits.view(),
                       chunk.stream);
  }
  report_bytes(state, chunk.stream, static_cast<double>(bytes_of(type, kRows * kVocabulary)));
}

BENCHMARK_CAPTURE(forward, bf16, DType::bf16)
    ->Name("cross_entropy_logits_and_statistics/bf16")
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(forward, f32, DType::f32)
    ->Name("cross_entropy_logits_and_statistics/f32")
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gradient, bf16, DType::bf16)
    ->Name("cross_entropy_gradient/bf16")
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gradient, f32, DType::f32)
    ->Name("cross_entropy_gradient/f32")
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(hits, bf16, DType::bf16)
    ->Name("cross_entropy_hits/bf16")
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gorgon::bench
