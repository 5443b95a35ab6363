#include "trainer/rank_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "trainer/memory_plan.h"

namespace gorgon {

RankPlan plan_ranks(const RunConfig& config, const ModelConfig& model, DeviceKind device, int ranks,
                    const StepRows& step, std::optional<int64_t> free) {
  const int64_t wanted = config.heads.vocabulary;
  const int64_t outputs = wanted > 0 ? std::min(wanted, model.vocab_size) : model.vocab_size;
  const HeadShapes shapes{config.heads, model.hidden_size, outputs, config.compute()};
  const auto memory = [&](bool divided) {
    return plan_memory(config, model, device, config.per_device_train_batch_size, {ranks, divided}).total();
  };
  RankPlan plan;
  plan.ranks = ranks;
  plan.replicate = {memory(false), replicate_traffic(shapes, ranks).total() / ranks};
  plan.vocab = {memory(true), vocab_traffic(shapes, step.states, step.rows, ranks).total() / ranks};
  plan.chosen = choose_parallel_heads(shapes, step, !free || plan.replicate.memory <= *free, ranks);
  return plan;
}

std::string rank_plan_table(const RankPlan& plan) {
  const auto row = [](const std::string& name, const std::string& replicate, const std::string& vocab) {
    return fmt::format("  {:<44} {:>12} {:>12}\n", name, replicate, vocab);
  };
  const auto gibibytes = [](int64_t bytes) {
    return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / static_cast<double>(int64_t{1} << 30));
  };
  const auto megabytes = [](int64_t bytes) {
    return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
  };
  return fmt::format("{} ranks\n", plan.ranks) + row("parallel_heads", "replicate", "vocab") +
         row("memory of a rank", gibibytes(plan.replicate.memory), gibibytes(plan.vocab.memory)) +
         row("a rank receives in a step", megabytes(plan.replicate.received),
             megabytes(plan.vocab.received)) +
         fmt::format("  auto takes {}\n", plan.chosen == ParallelHeads::vocab ? "vocab" : "replicate");
}

}  // namespace gorgon
