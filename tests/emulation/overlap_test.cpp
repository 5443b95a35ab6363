#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/workspace.h"
#include "tests/emulation/device_memory.h"
#include "tests/emulation/moved_model.h"
#include "tests/kernels/on_device.h"
#include "tests/model/tiny_model.h"
#include "trainer/memory_plan.h"
#include "trainer/overlapped_source.h"
#include "trainer/train_step.h"

// The next step's backbone beside the heads of this one: whatever a GPU does first, the bits are those of one
// step behind the other.
namespace gorgon {
namespace {

using emulation::StreamOrder;

constexpr int kHeads = 2;
constexpr int64_t kVocabulary = 48, kBatch = 2, kSequences = 7,
                  kSteps = 6;  // of 4 an epoch, the last one short

// Sequences of several lengths, so that tables grow and shrink.
Dataset dataset_of(TinyModel& model) {
  Dataset data;
  data.offsets.push_back(0);
  for (int64_t i = 0; i < kSequences; ++i) {
    for (const int32_t token : model.prompt(static_cast<int>(8 + 9 * (i * i % 5)))) {
      data.tokens.push_back(token);
      data.labels.push_back(token % 4 == 0 ? kIgnoreIndex : token);
      data.segments.push_back(0);
    }
    data.offsets.push_back(std::ssize(data.tokens));
  }
  return data;
}

struct Material {
  Material() : model(9, kVocabulary) {
    model.round_to_bf16();
    data = dataset_of(model);
    weights = moved(model.weights(), test_device());
  }
  TinyModel model;
  Dataset data;
  ModelWeights weights;
};

SourceOptions source_options() {
  SourceOptions options;
  options.num_heads = kHeads;
  options.global_batch = kBatch;
  options.micro_batch = 1;
  options.key = 3;
  return options;
}

HeadTrainerOptions trainer_options() {
  HeadTrainerOptions options;
  options.heads = {kHeads, 1};
  options.lr.learning_rate = 1e-2;
  options.lr_multiplier.assign(kHeads, 1.0);
  options.max_steps = kSteps;
  options.chunk_rows = 64;
  return options;
}

struct Steps {
  std::vector<double> losses;
  std::vector<int64_t> tokens, cursors;
  emulation::HostCalls steady;  // asked of the device by the last steps
};

// Steps as a run takes them, each begun before the last one is read; `from`: of a checkpoint.
Steps run(const Material& material, bool overlap, const LoaderState* from = nullptr) {
  const Stream stream(test_device(), 1);
  const Backbone backbone(material.weights, DType::bf16);
  std::unique_ptr<StateSource> source = online_source(backbone, material.data, source_options());
  if (overlap) source = overlapped_source(std::move(source), {kSteps, kBatch, 0}, stream);
  if (from != nullptr) source->restore(*from);
  HeadTrainer trainer(trainer_options(), material.weights.lm_head, DType::bf16, stream);
  StepRunner runner(trainer, *source, stream);
  Steps result;
  const auto finish = [&] {
    const StepRecord record = runner.finish();
    result.losses.push_back(record.result.loss);
    result.tokens.push_back(record.tokens);
  };
  for (int64_t s = 1; s <= kSteps; ++s) {
    runner.begin(s);
    result.cursors.push_back(10 * source->state().epoch + source->state().cursor);
    while (runner.open() > 1) finish();
  }
  finish();
  return result;
}

class Overlap : public testing::TestWithParam<StreamOrder> {
 protected:
  void SetUp() override { emulation::set_stream_order(GetParam()); }
  void TearDown() override { emulation::set_stream_order(StreamOrder::late); }
};

TEST_P(Overlap, GivesTheBitsOfOneStepBehindTheOther) {
  const Material material;
  const Steps plain = run(material, false), overlapped = run(material, true);
  EXPECT_EQ(overlapped.losses, plain.losses);
  EXPECT_EQ(overlapped.tokens, plain.tokens);
  EXPECT_EQ(overlapped.cursors, plain.cursors) << "a checkpoint would go on elsewhere";
  EXPECT_NE(plain.losses[0], plain.losses[4]) << "all steps alike: a test without sense";
}

TEST_P(Overlap, GoesOnFromWhereALoaderStood) {
  const Material material;
  LoaderState state;
  state.epoch = 1;
  state.cursor = 2 * kBatch;
  state.key = 3;
  EXPECT_EQ(run(material, true, &state).losses, run(material, false, &state).losses);
}

std::string name_of(StreamOrder order) {
  switch (order) {
    case StreamOrder::late:
      return "Late";
    case StreamOrder::early:
      return "Early";
    case StreamOrder::oldest_late:
      return "HeadsLate";
    case StreamOrder::newest_late:
      return "BackboneLate";
  }
  return "";
}
INSTANTIATE_TEST_SUITE_P(Orders, Overlap,
                         testing::Values(StreamOrder::late, StreamOrder::early, StreamOrder::oldest_late,
                                         StreamOrder::newest_late),
                         [](const auto& p) { return name_of(p.param); });

// Sequences of one length, whose steps are alike.
Dataset even_dataset(TinyModel& model, int64_t length) {
  Dataset data;
  data.tokens = model.prompt(static_cast<int>(kSequences * length));
  data.labels = data.tokens;
  data.segments.assign(data.tokens.size(), 0);
  for (int64_t i = 0; i <= kSequences; ++i) data.offsets.push_back(i * length);
  return data;
}

struct Asked {
  int64_t launches, graphs;
  friend bool operator==(const Asked&, const Asked&) = default;
};

// What the host asks for in a step of the steady state, in which it neither waits nor allocates.
Asked asked_in_a_step(const Material& material, bool overlap) {
  const Stream stream(test_device(), 1);
  const Backbone backbone(material.weights, DType::bf16);
  SourceOptions options = source_options();
  options.global_batch = 1;
  std::unique_ptr<StateSource> source = online_source(backbone, material.data, options);
  if (overlap) source = overlapped_source(std::move(source), {100, 1, 0}, stream);
  HeadTrainer trainer(trainer_options(), material.weights.lm_head, DType::bf16, stream);
  StepRunner runner(trainer, *source, stream);
  for (int64_t s = 1; s <= 7; ++s) {
    runner.begin(s);
    if (runner.open() > 1) runner.finish();
  }
  const emulation::HostCalls before = emulation::host_calls();
  runner.begin(8);
  const emulation::HostCalls after = emulation::host_calls();
  EXPECT_EQ(after.synchronisations, before.synchronisations);
  EXPECT_EQ(after.waits, before.waits);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.heuristics, before.heuristics);
  while (runner.open() > 0) runner.finish();
  return {after.launches - before.launches, after.graph_launches - before.graph_launches};
}

TEST(OverlapOnGpu, AsksForAsMuchAndWaitsForNothing) {
  Material material;
  material.data = even_dataset(material.model, 24);
  const Asked plain = asked_in_a_step(material, false);
  EXPECT_EQ(asked_in_a_step(material, true), plain);
  EXPECT_GE(plain.graphs, 1 + kHeads + 2) << "the backbone, heads and the update are graphs";
}

// What plan counts is what is held.
TEST(OverlapOnGpu, HoldsWhatIsPlanned) {
  Material material;
  constexpr int64_t kLength = 48;
  material.data = even_dataset(material.model, kLength);
  RunConfig config;
  config.heads.num_heads = kHeads;
  config.max_seq_length = kLength;
  config.gradient_accumulation_steps = 3;
  const auto most_bytes = [&] {
    emulation::HostCalls& calls = emulation::host_calls();
    const int64_t before = calls.bytes;
    calls.peak_bytes = before;
    const ModelConfig& sizes = material.weights.config;
    const Stream stream(test_device(), 1);
    stream.arena().reserve(working_memory(config, sizes, DeviceKind::cuda, 1));
    const Backbone backbone(material.weights, DType::bf16);
    SourceOptions options = source_options();
    options.global_batch = config.global_batch();
    std::unique_ptr<StateSource> source = online_source(backbone, material.data, options);
    if (config.overlap_backbone) {
      const int64_t reserved = working_memory_of_steps(config, sizes, DeviceKind::cuda, 1);
      source = overlapped_source(std::move(source), {100, config.global_batch(), reserved}, stream);
    }
    HeadTrainer trainer(trainer_options(), material.weights.lm_head, DType::bf16, stream);
    StepRunner runner(trainer, *source, stream);
    for (int64_t s = 1; s <= 4; ++s) {
      runner.begin(s);
      runner.finish();
    }
    return calls.peak_bytes - before;
  };
  const auto planned = [&] {
    return plan_memory(config, material.weights.config, DeviceKind::cuda, 1).total();
  };
  const int64_t plain = most_bytes(), plan_of_plain = planned();
  config.overlap_backbone = true;
  const int64_t overlapped = most_bytes(), plan_of_overlapped = planned();
  EXPECT_GT(plan_of_overlapped - plan_of_plain, int64_t{32} << 20);
  EXPECT_NEAR(static_cast<double>(overlapped - plain),
              static_cast<double>(plan_of_overlapped - plan_of_plain),
              5e-3 * static_cast<double>(overlapped - plain));
}

}  // namespace
}  // namespace gorgon
