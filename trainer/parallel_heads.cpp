#include "trainer/parallel_heads.h"

#include <algorithm>

#include <fmt/format.h>

#include "kernels/loss_sums.h"
#include "model/state_rows.h"

namespace gorgon {
namespace {

constexpr int64_t kStatisticsBytes = 12, kHitsBytes = 4;  // of a row

std::string megabytes(int64_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

int64_t tensors_of_linear(HeadLinear linear) {
  if (linear == HeadLinear::shared) return 0;
  return linear == HeadLinear::own ? 1 : 2;
}

}  // namespace

int64_t HeadShapes::parameters() const {
  return heads.num_heads * (2 * int64_t{heads.num_layers} + tensors_of_linear(heads.linear));
}

int64_t HeadShapes::trained_bytes() const {
  int64_t elements = heads.num_layers * (hidden * hidden + hidden);
  if (heads.linear == HeadLinear::own) elements += outputs * hidden;
  if (heads.linear == HeadLinear::lowrank) elements += heads.rank * (hidden + outputs);
  return bytes_of(type, heads.num_heads * elements);
}

StepTraffic replicate_traffic(const HeadShapes& shapes, int n) {
  const int64_t others = n - 1;
  StepTraffic traffic;
  traffic.parameter_gradients = traffic.weights = others * shapes.trained_bytes();
  const int64_t losses = n * others * shapes.heads.num_heads * static_cast<int64_t>(sizeof(LossSums));
  const int64_t counts = 2 * others * 2 * shapes.heads.num_heads * static_cast<int64_t>(sizeof(int64_t));
  traffic.decisions = losses + counts + 2 * others * bytes_of(DType::f32, shapes.parameters());
  return traffic;
}

StepTraffic vocab_traffic(const HeadShapes& shapes, int64_t states, int64_t rows, int n) {
  const int64_t others = n - 1, layers = shapes.heads.num_layers, all = shapes.heads.num_heads;
  StepTraffic traffic;
  traffic.states = others * bytes_of(shapes.type, states * shapes.hidden);
  traffic.features = layers * others * bytes_of(shapes.type, rows * shapes.hidden);
  traffic.feature_gradients = layers * others * bytes_of(DType::f32, rows * shapes.hidden);
  const int64_t rank = shapes.heads.linear == HeadLinear::lowrank ? shapes.heads.rank : 0;
  traffic.parameter_gradients = others * bytes_of(shapes.type, all * shapes.hidden * (layers + 2 * rank));
  traffic.statistics = others * rows * (n * kStatisticsBytes + 2 * kHitsBytes);
  traffic.decisions = 2 * others * bytes_of(DType::f32, shapes.parameters());
  return traffic;
}

StepRows all_supervised(int64_t tokens, int num_heads) {
  return {tokens, tokens * num_heads};
}

// Token p of a sequence that begins at b is the target of heads 1..K at p - 2 .. p - 1 - K, as far as b.
StepRows mean_step(const Dataset& dataset, int num_heads, int64_t steps) {
  StepRows all;
  for (int64_t s = 0; s < dataset.sequences(); ++s) {
    const int64_t begin = dataset.offsets[static_cast<size_t>(s)];
    const int64_t end = dataset.offsets[static_cast<size_t>(s) + 1];
    int64_t counted = begin;  // states in front of it are
    for (int64_t p = begin + 2; p < end; ++p) {
      if (dataset.labels[static_cast<size_t>(p)] == kIgnoreIndex) continue;
      const int64_t first = std::max(begin, p - 1 - num_heads), last = p - 1;  // [first, last)
      all.rows += last - first;
      all.states += last - std::max(first, counted);
      counted = last;
    }
  }
  const int64_t count = std::max<int64_t>(1, steps);
  return {all.states / count, all.rows / count};
}

ParallelHeads choose_parallel_heads(const HeadShapes& shapes, const StepRows& step, bool whole_heads_fit,
                                    int n) {
  if (n == 1) return ParallelHeads::replicate;
  if (!whole_heads_fit) return ParallelHeads::vocab;
  const int64_t divided = vocab_traffic(shapes, step.states, step.rows, n).total();
  return divided < replicate_traffic(shapes, n).total() ? ParallelHeads::vocab : ParallelHeads::replicate;
}

ParallelChoice resolve_parallel_heads(ParallelHeads wanted, const HeadShapes& shapes, const StepRows& step,
                                      bool whole_heads_fit, int n) {
  if (n == 1) return {};
  if (wanted != ParallelHeads::automatic) return {wanted, {}};
  const ParallelHeads mode = choose_parallel_heads(shapes, step, whole_heads_fit, n);
  const int64_t divided = vocab_traffic(shapes, step.states, step.rows, n).total() / n;
  return {mode, fmt::format(
                    "parallel_heads: {} (auto): a rank receives about {} a step by vocab, {} by replicate{}",
                    mode == ParallelHeads::vocab ? "vocab" : "replicate", megabytes(divided),
                    megabytes(replicate_traffic(shapes, n).total() / n),
                    whole_heads_fit ? "" : ", for which there is too little memory")};
}

}  // namespace gorgon
