#include <algorithm>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/communicator.h"
#include "optim/optimizer.h"
#include "tests/model/known_models.h"
#include "tests/ranks/job.h"
#include "trainer/memory_plan.h"
#include "trainer/parallel_heads.h"
#include "trainer/rank_plan.h"
#include "trainer/state_source.h"

namespace gorgon {
namespace {

// heads_program.cpp: 102 forms of heads in both modes, beside the same heads trained alone, and the bytes of
// a step beside the formula. Each rank is a process.
TEST(HeadsByRanks, EqualHeadsTrainedAlone) {
  const Launcher launcher = can_launch(Launcher::mpirun) ? Launcher::mpirun : Launcher::variables;
  for (const int n : {2, 3, 4}) {
    Job job(launcher, n, GORGON_HEADS_PROGRAM, {});
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses, std::vector<int>(static_cast<size_t>(n), 0)) << result.out << result.err;
    EXPECT_THAT(result.out, testing::HasSubstr(" 102 rows, 0 failed"));
  }
}

// Every range of rows begins where a block of 256 states of the whole tensor does, ranges cover all rows in
// order, and are equal to one unit.
TEST(HeadShards, BeginWhereABlockOfStatesDoes) {
  struct Case {
    int64_t vocabulary, hidden, rank;
  };
  for (const auto& [vocabulary, hidden, rank] : {Case{151936, 896, 16},
                                                 {151936, 896, 3},
                                                 {128256, 4096, 16},
                                                 {32000, 4096, 8},
                                                 {49152, 576, 7},
                                                 {1, 32, 4},
                                                 {1001, 33, 5},
                                                 {7, 1, 1}}) {
    for (const int n : {1, 2, 3, 4, 7, 64}) {
      for (const HeadLinear linear : {HeadLinear::own, HeadLinear::shared, HeadLinear::lowrank}) {
        const MedusaOptions options{2, 1, linear, rank, kFullVocabulary};
        int64_t covered = 0, fewest = vocabulary, most = 0;
        for (int r = 0; r < n; ++r) {
          const HeadShard shard = shard_heads(options, vocabulary, hidden, kStateBlock, r, n);
          EXPECT_EQ(shard.size(), n);
          EXPECT_EQ(shard.first_output(), covered);
          covered = shard.end_output();
          const int64_t columns = linear == HeadLinear::own ? hidden : rank;
          if (linear != HeadLinear::shared && shard.first_output() < vocabulary) {
            EXPECT_EQ(shard.first_output() * columns % kStateBlock, 0);
          }
          if (shard.first_hidden() < hidden) {
            EXPECT_EQ(shard.first_hidden() * hidden % kStateBlock, 0);
          }
          fewest = std::min(fewest, shard.end_output() - shard.first_output());
          most = std::max(most, shard.end_output() - shard.first_output());
          if (r == n - 1) {
            EXPECT_EQ(shard.hidden.back(), hidden);
          }
        }
        EXPECT_EQ(covered, vocabulary);
        EXPECT_LE(most - fewest, 2 * kStateBlock) << vocabulary << " " << hidden << " " << n;
      }
    }
  }
}

// The states of 8 bits, stochastic rounding and the threshold are those of the whole tensor: three shards of
// a [1001, 896] tensor, by rows or by blocks of states, give the bits of the whole one. So does a shard below
// the threshold of a tensor above it.
TEST(HeadShards, OptimizerStepsGiveTheBitsOfTheWholeTensor) {
  const Stream stream({}, 1);
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1001, 896}, {40, 128}}) {
    std::vector<bf16> weights, gradients;
    for (int64_t i = 0; i < rows * columns; ++i) {
      weights.push_back(bf16(static_cast<float>(i % 1013) * 1e-3f - 0.5f));
      gradients.push_back(bf16(static_cast<float>((i * 7919) % 2003) * 1e-4f - 0.1f));
    }
    const Tensor grad = Tensor::of(gradients, {rows, columns});
    const int64_t elements = rows * columns;
    const auto part = [&](auto view, int64_t begin, int64_t end) {
      view.shape = {elements};
      return view.rows(begin, end);
    };
    const auto step = [&](Tensor& param, int64_t begin, int64_t end) {
      ParamGroup group;
      group.id = 3;
      group.global_offset = begin;
      group.logical_elements = elements;
      group.param = part(param.view(), begin, end);
      group.grad = part(grad.view(), begin, end);
      Optimizer optimizer({}, 42, {group}, stream);
      for (int t = 1; t <= 3; ++t) optimizer.step(StepScalars{1e-2f, 1.0f, t, 0}, stream);
    };
    const MedusaOptions options{1, 1, HeadLinear::own, 0, kFullVocabulary};
    const HeadShard shard = shard_heads(options, rows, columns, kStateBlock, 0, 3);
    std::vector<int64_t> by_rows, by_blocks = block_parts(elements, kStateBlock, 3);
    for (const int64_t row : shard.outputs) by_rows.push_back(row * columns);
    Tensor whole = Tensor::of(weights, {rows, columns});
    step(whole, 0, elements);
    EXPECT_NE(std::memcmp(whole.data(), weights.data(), static_cast<size_t>(whole.bytes())), 0);
    for (const std::vector<int64_t>& bounds : {by_rows, by_blocks}) {
      Tensor parts = Tensor::of(weights, {rows, columns});
      for (size_t r = 0; r < 3; ++r) step(parts, bounds[r], bounds[r + 1]);
      EXPECT_EQ(std::memcmp(whole.data(), parts.data(), static_cast<size_t>(whole.bytes())), 0);
    }
  }
}

HeadShapes llama(HeadLinear linear = HeadLinear::own) {
  return {{5, 1, linear, 16, kFullVocabulary}, 4096, 128256, DType::bf16};
}

// Llama-3-8B, 5 heads, 4,096 rows a step, 8 ranks: counted by hand.
TEST(ParallelHeads, TrafficOfAStep) {
  const int64_t rows = 4096, all = 5 * rows, others = 7, h = 4096;
  const StepTraffic divided = vocab_traffic(llama(), rows, all, 8);
  EXPECT_EQ(divided.states, others * rows * h * 2);
  EXPECT_EQ(divided.features, others * all * h * 2);
  EXPECT_EQ(divided.feature_gradients, others * all * h * 4);
  EXPECT_EQ(divided.parameter_gradients, others * 5 * h * 2);
  EXPECT_EQ(divided.statistics, 8 * others * all * 12 + 2 * others * all * 4);
  const StepTraffic whole = replicate_traffic(llama(), 8);
  EXPECT_EQ(whole.parameter_gradients, others * 5 * (h * h + h + 128256 * h) * 2);
  EXPECT_EQ(whole.weights, whole.parameter_gradients);
  // What the design promises: a tenth of the traffic and less.
  EXPECT_LT(divided.total() * 10, whole.total());
}

TEST(ParallelHeads, AutoPicksByBytesAndMemory) {
  const StepRows few = all_supervised(4096, 5), many = all_supervised(1 << 18, 5);
  EXPECT_EQ(choose_parallel_heads(llama(), few, true, 8), ParallelHeads::vocab);
  EXPECT_EQ(choose_parallel_heads(llama(), few, true, 1), ParallelHeads::replicate);
  // So many rows that their features weigh more than the gradients; of which an eighth is supervised.
  EXPECT_EQ(choose_parallel_heads(llama(), many, true, 8), ParallelHeads::replicate);
  EXPECT_EQ(choose_parallel_heads(llama(), many, false, 8), ParallelHeads::vocab);
  EXPECT_EQ(choose_parallel_heads(llama(), {many.states / 8, many.rows / 8}, true, 8), ParallelHeads::vocab);
  // Without a Linear of their own heads have little to tell.
  EXPECT_EQ(choose_parallel_heads(llama(HeadLinear::shared), few, true, 8), ParallelHeads::replicate);
  const ParallelChoice choice = resolve_parallel_heads(ParallelHeads::automatic, llama(), few, true, 8);
  EXPECT_EQ(choice.mode, ParallelHeads::vocab);
  EXPECT_THAT(choice.reason, testing::HasSubstr("vocab (auto): a rank receives about 471.7 MB a step by "
                                                "vocab, 9487.1 MB by replicate"));
  EXPECT_EQ(resolve_parallel_heads(ParallelHeads::replicate, llama(), few, false, 8).mode,
            ParallelHeads::replicate);
}

// 5.4 GB of heads, as much of gradients and of states in 8 bits (and their scales): an eighth of them stays,
// in replicate mode of the states alone.
TEST(RankPlan, CountsARanksMemoryAndTrafficInBothModes) {
  RunConfig config;
  config.heads = llama().heads;
  config.max_seq_length = 512;
  config.per_device_train_batch_size = 1;
  config.global_batch_size = 8;
  const StepRows step = all_supervised(4096, 5);
  const auto plan = [&](std::optional<int64_t> free) {
    return plan_ranks(config, llama_3_8b(), DeviceKind::cuda, 8, step, free);
  };
  const RankPlan enough = plan(std::nullopt);
  EXPECT_EQ(enough.replicate.received, replicate_traffic(llama(), 8).total() / 8);
  EXPECT_EQ(enough.vocab.received, vocab_traffic(llama(), 4096, 5 * 4096, 8).total() / 8);
  const auto weights = static_cast<double>(llama().trained_bytes());
  const auto less = static_cast<double>(enough.replicate.memory - enough.vocab.memory);
  // Beside 7/8 of twice their bytes: 7/8 of the sum of one head in f32, and of a chunk's logits.
  EXPECT_GT(less, 0.875 * 2 * weights);
  EXPECT_LT(less, 0.875 * 2.8 * weights);
  EXPECT_EQ(enough.chosen, ParallelHeads::vocab);
  const int64_t states =
      plan_heads_memory(config, llama_3_8b(), 128256, 1) - plan_heads_memory(config, llama_3_8b(), 128256, 8);
  EXPECT_NEAR(static_cast<double>(states), 0.875 * 1.016 * weights, 0.001 * weights);
  // One process plans as ever.
  const RankPlan alone = plan_ranks(config, llama_3_8b(), DeviceKind::cuda, 1, step, std::nullopt);
  EXPECT_EQ(alone.replicate.memory, plan_memory(config, llama_3_8b(), DeviceKind::cuda, 1).total());
  EXPECT_EQ(alone.replicate.received, 0);
  // With little to tell, memory decides.
  config.heads.linear = HeadLinear::lowrank;
  config.heads.rank = 16;
  EXPECT_EQ(plan(std::nullopt).chosen, ParallelHeads::replicate);
  EXPECT_EQ(plan(plan(std::nullopt).replicate.memory - 1).chosen, ParallelHeads::vocab);
  EXPECT_THAT(rank_plan_table(plan(std::nullopt)), testing::HasSubstr("auto takes replicate"));
}

// The rows of the data are those that the trainer takes from it.
TEST(ParallelHeads, RowsOfAMeanStepAreThoseOfTheTrainer) {
  Dataset dataset;
  dataset.offsets = {0};
  for (int s = 0; s < 7; ++s) {
    for (int t = 0; t < 5 + 6 * s; ++t) {
      dataset.tokens.push_back(t);
      dataset.segments.push_back(0);
      dataset.labels.push_back((t * 7 + s) % 11 < 3 ? t : kIgnoreIndex);
    }
    dataset.offsets.push_back(std::ssize(dataset.tokens));
  }
  for (const int heads : {1, 2, 5}) {
    const RowTable table = supervised_rows(dataset.gather({0, 1, 2, 3, 4, 5, 6}), heads);
    const StepRows all = mean_step(dataset, heads, 1);
    EXPECT_EQ(all.states, std::ssize(table.row));
    EXPECT_EQ(all.rows, std::count_if(table.targets.begin(), table.targets.end(),
                                      [](int32_t target) { return target != kIgnoreIndex; }));
    EXPECT_EQ(mean_step(dataset, heads, 4).rows, all.rows / 4);
  }
}

}  // namespace
}  // namespace gorgon
