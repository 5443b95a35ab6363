#include "trainer/step_costs.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>

#include "model/draft_tree.h"

namespace gorgon {
namespace {

constexpr int kRuns = 9;

// Median seconds of each piece of work. They take turns, so that what else the machine does for a while is no
// single one's bad luck; the first round is not counted.
std::vector<double> median_seconds(const std::vector<std::function<void()>>& work) {
  std::vector<std::vector<double>> seconds(work.size());
  for (int run = 0; run <= kRuns; ++run) {
    for (size_t i = 0; i < work.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      work[i]();
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      if (run > 0) seconds[i].push_back(taken.count());
    }
  }
  std::vector<double> medians;
  for (auto& all : seconds) {
    std::nth_element(all.begin(), all.begin() + kRuns / 2, all.end());
    medians.push_back(all[kRuns / 2]);
  }
  return medians;
}

}  // namespace

Tensor fill_cache(const Backbone& backbone, KvCache& cache, int64_t tokens, const Stream& stream) {
  BackboneContext prompt;
  prompt.caches = {&cache};
  prompt.offsets = {0, tokens};
  prompt.positions.resize(static_cast<size_t>(tokens));
  std::iota(prompt.positions.begin(), prompt.positions.end(), 0);
  Tensor states = backbone.forward(std::vector<int32_t>(static_cast<size_t>(tokens), 1), prompt, stream);
  cache.append(tokens);
  return states;
}

BackboneContext verify_call(KvCache& cache, int64_t nodes) {
  std::vector<int32_t> parent(static_cast<size_t>(nodes), 0);
  parent[0] = -1;
  const TreeBuffers tree = tree_buffers(parent);
  BackboneContext call;
  call.caches = {&cache};
  call.offsets = {0, nodes};
  for (const int32_t depth : tree.depth)
    call.positions.push_back(static_cast<int32_t>(cache.length()) + depth);
  call.trees = {tree.mask};
  return call;
}

StepCosts measure_step_costs(const Backbone& backbone, const DraftHeads& heads, int64_t context,
                             int64_t max_nodes, const Stream& stream) {
  const ModelConfig& config = backbone.config();
  context = std::min(context, config.max_position_embeddings / 2);
  KvCache cache(config, backbone.compute(), context + max_nodes, stream.device());
  Tensor states = fill_cache(backbone, cache, context, stream);

  StepCosts costs;
  std::vector<std::function<void()>> verify, drafts;
  Tensor all_logits(DType::f32, {max_nodes, config.vocab_size}, stream.device());  // a decoder keeps them too
  for (int64_t nodes = 1; nodes <= max_nodes; nodes *= 2) {
    costs.verify.emplace_back(nodes, 0.0);
    verify.emplace_back([&, nodes, call = verify_call(cache, nodes)] {
      const std::vector<int32_t> tokens(static_cast<size_t>(nodes), 1);
      states = backbone.forward(tokens, call, stream);
      backbone.logits(states.view(), all_logits.view().rows(0, nodes), stream);
      stream.synchronize();
    });
  }
  const std::vector<double> seconds = median_seconds(verify);
  for (size_t i = 0; i < seconds.size(); ++i) costs.verify[i].second = seconds[i];
  Tensor logits(DType::f32, {1, heads.outputs()}, stream.device());
  for (int k = 0; k < heads.count(); ++k) {
    drafts.emplace_back([&, k] {
      heads.logits(k, states.view().rows(0, 1), logits.view(), stream);
      stream.synchronize();
    });
  }
  costs.heads = median_seconds(drafts);
  return costs;
}

}  // namespace gorgon
