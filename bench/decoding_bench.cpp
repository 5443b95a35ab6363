// Steps of decoding on a real model: one forward over a tree of nodes behind 256 tokens of context, the
// logits of every node and their largest values, as the decoder does it.
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>

#include <benchmark/benchmark.h>

#include "kernels/profile.h"
#include "kernels/thread_pool.h"
#include "model/acceptance.h"
#include "model/backbone.h"
#include "trainer/step_costs.h"

namespace gorgon::bench {
namespace {

constexpr int64_t kContext = 256, kMostNodes = 64;

// The default model, where scripts/fetch_model.sh has put it, or the one that GORGON_BENCH_MODEL names. The
// last one loaded is kept for the next benchmark.
struct Loaded {
  std::string path;
  DType compute;
  Stream stream;
  ModelWeights weights;
  Backbone backbone;
  KvCache cache;

  Loaded(std::string file, DType type)
      : path(std::move(file)),
        compute(type),
        weights(load_model(path, type, stream, WeightStorage::as_stored)),
        backbone(weights, type),
        cache(weights.config, type, kContext + kMostNodes) {
    fill_cache(backbone, cache, kContext, stream);
  }
};

Loaded* model(benchmark::State& state, DType type) {
  static std::unique_ptr<Loaded> loaded;
  const char* named = std::getenv("GORGON_BENCH_MODEL");
  const std::string path = named != nullptr ? named : "models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (loaded != nullptr && loaded->path == path && loaded->compute == type) return loaded.get();
  if (!std::filesystem::exists(path)) {
    state.SkipWithError("no model: run scripts/fetch_model.sh, and this from the top folder");
    return nullptr;
  }
  loaded.reset();
  loaded = std::make_unique<Loaded>(path, type);
  return loaded.get();
}

// Milliseconds of a step by part, from a run of their own: taking the times costs time.
void report_parts(benchmark::State& state, Stream& stream, const std::function<void()>& step) {
  constexpr int kSteps = 20;
  Profile profile;
  stream.set_profile(&profile);
  for (int i = 0; i < kSteps; ++i) step();
  stream.set_profile(nullptr);
  for (const Profile::Part& part : profile.parts()) {
    state.counters[part.name] = part.seconds * 1000 / kSteps;
  }
}

void verify_step(benchmark::State& state, DType type) {
  Loaded* loaded = model(state, type);
  if (loaded == nullptr) return;
  const int64_t nodes = state.range(0), vocabulary = loaded->weights.config.vocab_size;
  const BackboneContext call = verify_call(loaded->cache, nodes);
  const std::vector<int32_t> tokens(static_cast<size_t>(nodes), 1);
  std::vector<TopTwo> choices(tokens.size());
  Tensor logits(DType::f32, {nodes, vocabulary});
  const auto step = [&] {
    const Tensor states = loaded->backbone.forward(tokens, call, loaded->stream);
    loaded->backbone.logits(states.view(), logits.view(), loaded->stream);
    const ProfileScope scope(loaded->stream, "largest logits");
    loaded->stream.threads().parallel_for(nodes, [&](int64_t i) {
      choices[static_cast<size_t>(i)] =
          top_two({logits.as<float>() + i * vocabulary, static_cast<size_t>(vocabulary)});
    });
  };
  step();
  for (auto _ : state) step();
  report_parts(state, loaded->stream, step);
}

void nodes(benchmark::internal::Benchmark* bench) {
  for (const int64_t count : {1, 2, 4, 8, 16, 32, 64}) bench->Arg(count);
  bench->ArgName("nodes")->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(verify_step, bf16, DType::bf16)->Apply(nodes);
BENCHMARK_CAPTURE(verify_step, f32, DType::f32)->Apply(nodes);

}  // namespace
}  // namespace gorgon::bench
