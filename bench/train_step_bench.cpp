// Whole steps on the default model, where scripts/fetch_model.sh has put it.
#include <filesystem>
#include <memory>
#include <numeric>

#include <benchmark/benchmark.h>

#include "bench/numbers.h"
#include "model/backbone.h"
#include "model/model_weights.h"
#include "trainer/head_trainer.h"
#include "trainer/state_source.h"

namespace gorgon::bench {
namespace {

constexpr const char* kModel = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr int64_t kLength = 256, kBatch = 4;
constexpr int kHeads = 5;

// Sequences of random tokens, of which the last `percent` of each are supervised.
Sequences random_sequences(int64_t vocabulary, int64_t percent) {
  Sequences sequences;
  const Tensor tokens = integers(kLength * kBatch, static_cast<uint32_t>(vocabulary));
  sequences.tokens.assign(tokens.as<int32_t>(), tokens.as<int32_t>() + tokens.elements());
  sequences.labels = sequences.tokens;
  sequences.offsets.push_back(0);
  for (int64_t s = 0; s < kBatch; ++s) {
    const int64_t masked = kLength - kLength * percent / 100;
    std::fill_n(sequences.labels.begin() + s * kLength, masked, kIgnoreIndex);
    sequences.first_id.push_back(s * kLength);
    sequences.offsets.push_back((s + 1) * kLength);
  }
  return sequences;
}

std::unique_ptr<ModelWeights> model(benchmark::State& state, DType type, const Stream& stream) {
  if (!std::filesystem::exists(kModel)) {
    state.SkipWithError("no default model: run scripts/fetch_model.sh, and this from the top folder");
    return nullptr;
  }
  return std::make_unique<ModelWeights>(load_model(kModel, type, stream));
}

void tokens_per_second(benchmark::State& state) {
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(kLength * kBatch * state.iterations()),
                                                  benchmark::Counter::kIsRate);
}

void training_step(benchmark::State& state, DType type) {
  const Stream stream;
  const auto weights = model(state, type, stream);
  if (!weights) return;
  const Backbone backbone(*weights, type);
  HeadTrainerOptions options;
  options.heads.num_heads = kHeads;
  options.lr.learning_rate = 1e-4;
  options.lr_multiplier.assign(kHeads, 1.0);
  options.max_steps = 1000;
  HeadTrainer trainer(options, weights->lm_head, type, stream);
  const Sequences sequences = random_sequences(weights->config.vocab_size, state.range(0));
  int64_t step = 0;
  const auto train = [&] {
    trainer.step(forward_state_rows(backbone, sequences, kHeads, kBatch, stream), ++step);
  };
  train();  // allocates
  for (auto _ : state) train();
  tokens_per_second(state);
}

void prefill(benchmark::State& state, DType type) {
  const Stream stream;
  const auto weights = model(state, type, stream);
  if (!weights) return;
  const Backbone backbone(*weights, type);
  const Sequences sequences = random_sequences(weights->config.vocab_size, 100);
  for (auto _ : state) forward_state_rows(backbone, sequences, kHeads, kBatch, stream);
  tokens_per_second(state);
}

BENCHMARK_CAPTURE(training_step, bf16, DType::bf16)
    ->ArgName("percent_supervised")
    ->Arg(100)
    ->Arg(25)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(training_step, f32, DType::f32)
    ->ArgName("percent_supervised")
    ->Arg(100)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(prefill, bf16, DType::bf16)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(prefill, f32, DType::f32)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gorgon::bench
