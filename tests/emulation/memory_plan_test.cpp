#include "trainer/memory_plan.h"

#include <gtest/gtest.h>

#include "tests/emulation/device_memory.h"
#include "tests/emulation/moved_model.h"
#include "tests/kernels/on_device.h"
#include "tests/model/tiny_model.h"
#include "trainer/head_trainer.h"
#include "trainer/state_source.h"

namespace gorgon {
namespace {

constexpr int kHeads = 2;
constexpr int64_t kLength = 48, kSequences = 3, kVocabulary = 150;

RunConfig config_of(bool bf16) {
  RunConfig config;
  config.heads.num_heads = kHeads;
  config.max_seq_length = kLength;
  config.per_device_train_batch_size = 1;
  config.gradient_accumulation_steps = kSequences;
  config.bf16 = bf16;
  return config;
}

Sequences whole_sequences(TinyModel& model) {
  Sequences s;
  s.offsets.push_back(0);
  for (int64_t i = 0; i < kSequences; ++i) {
    s.first_id.push_back(static_cast<int64_t>(s.tokens.size()));
    for (const int32_t token : model.prompt(kLength)) {
      s.tokens.push_back(token);
      s.labels.push_back(token);
      s.segments.push_back(0);
    }
    s.offsets.push_back(static_cast<int64_t>(s.tokens.size()));
  }
  return s;
}

class PlanOfTraining : public testing::TestWithParam<bool> {};

// What two steps really allocate on the device. The plan counts rows for the last tokens of sequences, too,
// which have no targets, and leaves out what is smaller than a page.
TEST_P(PlanOfTraining, IsWhatTheDeviceHolds) {
  const RunConfig config = config_of(GetParam());
  TinyModel model(5, kVocabulary);
  if (config.bf16) model.round_to_bf16();
  const Sequences sequences = whole_sequences(model);
  emulation::HostCalls& calls = emulation::host_calls();
  const int64_t before = calls.bytes;
  calls.peak_bytes = before;
  {
    const Stream stream(test_device(), 1);
    const ModelWeights weights = moved(model.weights(), test_device());
    const Backbone backbone(weights, config.compute());
    HeadTrainerOptions options;
    options.heads = config.heads;
    options.lr_multiplier.assign(kHeads, 1.0);
    options.max_steps = 2;
    HeadTrainer trainer(options, weights.lm_head, config.compute(), stream);
    StateRows rows;
    const auto step = [&](int64_t s) {
      forward_state_rows(backbone, sequences, kHeads, 1, rows, stream);
      trainer.step(rows, s);
    };
    for (int64_t s = 1; s <= 2; ++s) step(s);
  }
  const auto measured = static_cast<double>(calls.peak_bytes - before);
  const int64_t planned = plan_memory(config, model.weights().config, DeviceKind::cuda, 1).total();
  EXPECT_NEAR(static_cast<double>(planned), measured, 0.01 * measured);
}

INSTANTIATE_TEST_SUITE_P(Types, PlanOfTraining, testing::Bool());

ModelConfig zephyr() {
  ModelConfig c;
  c.architecture = "mistral";
  c.hidden_size = 4096;
  c.num_hidden_layers = 32;
  c.intermediate_size = 14336;
  c.num_attention_heads = 32;
  c.num_key_value_heads = 8;
  c.head_dim = 128;
  c.vocab_size = 32000;
  c.max_position_embeddings = 32768;
  c.sliding_window = 4096;
  return c;
}

// The reference recipe: batch 1 x accumulation 16 of 256 tokens. A card of 24 GB leaves about 23 to a
// program.
TEST(PlanOfZephyr, FitsTheCardsItIsMeantFor) {
  RunConfig config;
  config.max_seq_length = 256;
  config.gradient_accumulation_steps = 16;
  const int64_t plain = plan_memory(config, zephyr(), DeviceKind::cuda, 1).total();
  EXPECT_LT(plain, 23'000'000'000);
  EXPECT_GT(plain, 14'480'000'000) << "the backbone alone";
  config.load_in_4bit = true;
  EXPECT_LT(plan_memory(config, zephyr(), DeviceKind::cuda, 1).total(), 11'000'000'000);
}

TEST(PlanOfZephyr, CountsTheWorkOfATokenAndARow) {
  RunConfig config;
  config.max_seq_length = 256;
  const WorkPlan work = plan_work(config, zephyr());
  // 32 layers of 218 M weights, and 5 heads of 131 M (three products) and 16.8 M (two), 2 operations each
  EXPECT_NEAR(work.backbone_flop_per_token, 14.0e9, 0.1e9);
  EXPECT_NEAR(work.heads_flop_per_row, 4.3e9, 0.05e9);
}

TEST(PlanOfZephyr, CountsWhatTheRunDirectoryHolds) {
  RunConfig config;
  const DiskPlan disk = plan_disk(config, zephyr());
  const double parameters = 5.0 * (4096.0 * 4097.0 + 32000.0 * 4096.0);
  EXPECT_NEAR(static_cast<double>(disk.checkpoint), parameters * (2.0 + 2.0 + 8.0 / 256.0), 1e6);
  EXPECT_NEAR(static_cast<double>(disk.most), 4.0 * static_cast<double>(disk.checkpoint) + 2.0 * parameters,
              1e6);
}

}  // namespace
}  // namespace gorgon
