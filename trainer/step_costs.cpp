#include "trainer/step_costs.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>

#include "model/draft_tree.h"

namespace gorgon {
namespace {

constexpr int kRuns = 7;

double median_seconds(const std::function<void()>& work) {
  std::vector<double> seconds;
  for (int run = 0; run <= kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    work();
    if (run > 0)
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

}  // namespace

StepCosts measure_step_costs(const Backbone& backbone, const DraftHeads& heads, int64_t context,
                             int64_t max_nodes, const Stream& stream) {
  const ModelConfig& config = backbone.config();
  context = std::min(context, config.max_position_embeddings / 2);
  KvCache cache(config, backbone.compute(), context + max_nodes, stream.device());
  BackboneContext call;
  call.caches = {&cache};
  call.offsets = {0, context};
  call.positions.resize(static_cast<size_t>(context));
  std::iota(call.positions.begin(), call.positions.end(), 0);
  Tensor states = backbone.forward(std::vector<int32_t>(static_cast<size_t>(context), 1), call, stream);
  cache.append(context);

  StepCosts costs;
  for (int64_t nodes = 1; nodes <= max_nodes; nodes *= 2) {
    std::vector<int32_t> parent(static_cast<size_t>(nodes),
                                0);  // all children of the root: any shape costs the same
    parent[0] = -1;
    const TreeBuffers tree = tree_buffers(parent);
    call.offsets = {0, nodes};
    call.positions.clear();
    for (const int32_t depth : tree.depth) call.positions.push_back(static_cast<int32_t>(context) + depth);
    call.trees = {tree.mask};
    const std::vector<int32_t> tokens(static_cast<size_t>(nodes), 1);
    Tensor logits(DType::f32, {nodes, config.vocab_size}, stream.device());
    costs.verify.emplace_back(nodes, median_seconds([&] {
                                states = backbone.forward(tokens, call, stream);
                                backbone.logits(states.view(), logits.view(), stream);
                                stream.synchronize();
                              }));
  }
  Tensor logits(DType::f32, {1, heads.outputs()}, stream.device());
  for (int k = 0; k < heads.count(); ++k) {
    costs.heads.push_back(median_seconds([&] {
      heads.logits(k, states.view().rows(0, 1), logits.view(), stream);
      stream.synchronize();
    }));
  }
  return costs;
}

}  // namespace gorgon
