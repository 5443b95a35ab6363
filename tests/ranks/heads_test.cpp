#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "optim/optimizer.h"
#include "tests/ranks/job.h"
#include "trainer/parallel_heads.h"

namespace gorgon {
namespace {

// heads_program.cpp: 100 forms of heads in both modes, beside the same heads trained alone, and the bytes of
// a step beside the formula. Each rank is a process.
TEST(HeadsByRanks, EqualHeadsTrainedAlone) {
  const Launcher launcher = can_launch(Launcher::mpirun) ? Launcher::mpirun : Launcher::variables;
  for (const int n : {2, 3, 4}) {
    Job job(launcher, n, GORGON_HEADS_PROGRAM, {});
    const JobResult result = job.wait();
    EXPECT_EQ(result.statuses, std::vector<int>(static_cast<size_t>(n), 0)) << result.out << result.err;
    EXPECT_THAT(result.out, testing::HasSubstr(" 100 rows, 0 failed"));
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
// a [1001, 896] tensor give the bits of the whole one. So does a shard below the threshold of a tensor above
// it.
TEST(HeadShards, OptimizerStepsGiveTheBitsOfTheWholeTensor) {
  const Stream stream({}, 1);
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1001, 896}, {40, 128}}) {
    std::vector<bf16> weights, gradients;
    for (int64_t i = 0; i < rows * columns; ++i) {
      weights.push_back(bf16(static_cast<float>(i % 1013) * 1e-3f - 0.5f));
      gradients.push_back(bf16(static_cast<float>((i * 7919) % 2003) * 1e-4f - 0.1f));
    }
    const Tensor grad = Tensor::of(gradients, {rows, columns});
    const auto step = [&](Tensor& param, int64_t begin, int64_t end) {
      ParamGroup group;
      group.id = 3;
      group.global_offset = begin * columns;
      group.logical_elements = rows * columns;
      group.param = param.view().rows(begin, end);
      group.grad = grad.view().rows(begin, end);
      Optimizer optimizer({}, 42, {group}, stream);
      for (int t = 1; t <= 3; ++t) optimizer.step(StepScalars{1e-2f, 1.0f, t, 0}, stream);
    };
    Tensor whole = Tensor::of(weights, {rows, columns}), parts = Tensor::of(weights, {rows, columns});
    step(whole, 0, rows);
    const MedusaOptions options{1, 1, HeadLinear::own, 0, kFullVocabulary};
    for (int r = 0; r < 3; ++r) {
      const HeadShard shard = shard_heads(options, rows, columns, kStateBlock, r, 3);
      step(parts, shard.first_output(), shard.end_output());
    }
    EXPECT_EQ(std::memcmp(whole.data(), parts.data(), static_cast<size_t>(whole.bytes())), 0);
    EXPECT_NE(std::memcmp(whole.data(), weights.data(), static_cast<size_t>(whole.bytes())), 0);
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
  EXPECT_EQ(replicate_traffic(llama(), 8).parameter_gradients, 2 * others * 5 * (h * h + h + 128256 * h) * 2);
  // What the design promises: a tenth of the traffic and less.
  EXPECT_LT(divided.total() * 10, replicate_traffic(llama(), 8).total());
}

TEST(ParallelHeads, AutoPicksByBytesAndMemory) {
  EXPECT_EQ(choose_parallel_heads(llama(), 4096, true, 8), ParallelHeads::vocab);
  EXPECT_EQ(choose_parallel_heads(llama(), 4096, true, 1), ParallelHeads::replicate);
  // So many rows that their features weigh more than the gradients.
  EXPECT_EQ(choose_parallel_heads(llama(), 1 << 18, true, 8), ParallelHeads::replicate);
  EXPECT_EQ(choose_parallel_heads(llama(), 1 << 18, false, 8), ParallelHeads::vocab);
  // Without a Linear of their own heads have little to tell.
  EXPECT_EQ(choose_parallel_heads(llama(HeadLinear::shared), 4096, true, 8), ParallelHeads::replicate);
  RunConfig config;
  config.heads.num_heads = 5;
  config.max_seq_length = 4096;
  EXPECT_EQ(resolve_parallel_heads(config, llama(), true, 8).mode, ParallelHeads::vocab);
  EXPECT_THAT(resolve_parallel_heads(config, llama(), true, 8).reason, testing::HasSubstr("vocab (auto)"));
  config.parallel_heads = ParallelHeads::replicate;
  EXPECT_EQ(resolve_parallel_heads(config, llama(), false, 8).mode, ParallelHeads::replicate);
}

}  // namespace
}  // namespace gorgon
