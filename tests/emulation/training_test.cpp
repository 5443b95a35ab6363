#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "tests/emulation/device_memory.h"
#include "tests/emulation/moved_model.h"
#include "tests/kernels/on_device.h"
#include "tests/model/tiny_model.h"
#include "trainer/head_trainer.h"
#include "trainer/state_source.h"

// The whole of a training step on the GPU beside the CPU: the same model, sequences and options.
namespace gorgon {
namespace {

constexpr int kHeads = 2, kSteps = 3;
constexpr int64_t kVocabulary = 150;  // times 32: enough for eight-bit states

Sequences sequences_of(TinyModel& model) {
  Sequences s;
  s.offsets.push_back(0);
  for (const int length : {40, 7, 61}) {
    const std::vector<int32_t> tokens = model.prompt(length);
    s.first_id.push_back(static_cast<int64_t>(s.tokens.size()));
    for (const int32_t token : tokens) {
      s.tokens.push_back(token);
      s.labels.push_back(token % 5 == 0 ? kIgnoreIndex : token);
      s.segments.push_back(0);
    }
    s.offsets.push_back(static_cast<int64_t>(s.tokens.size()));
  }
  return s;
}

struct Result {
  std::vector<float> states, weights;
  std::vector<StepResult> steps;
  std::vector<HeadMetrics> evaluation;
};

void append_floats(const Tensor& tensor, std::vector<float>& to) {
  const Tensor host = tensor.to({});
  for (int64_t i = 0; i < host.elements(); ++i) {
    to.push_back(host.type() == DType::f32 ? host.as<float>()[i] : static_cast<float>(host.as<bf16>()[i]));
  }
}

HeadTrainerOptions trainer_options(bool eight_bit) {
  HeadTrainerOptions options;
  options.heads = {kHeads, 2};
  options.optimizer.eight_bit = eight_bit;
  options.lr.learning_rate = 1e-2;
  options.lr_multiplier.assign(kHeads, 1.0);
  options.max_steps = kSteps;
  options.chunk_rows = 64;
  return options;
}

Result train(const TinyModel& model, const Sequences& sequences, DType type, bool eight_bit, Device device) {
  const Stream stream(device, 2);
  const ModelWeights weights = moved(model.weights(), device);
  const Backbone backbone(weights, type);
  const StateRows rows = forward_state_rows(backbone, sequences, kHeads, 2, stream);
  HeadTrainer trainer(trainer_options(eight_bit), weights.lm_head, type, stream);
  Result result;
  append_floats(rows.hidden, result.states);
  for (int64_t s = 1; s <= kSteps; ++s) result.steps.push_back(trainer.step(rows, s));
  trainer.evaluate(rows, result.evaluation);
  for (const MedusaHead& head : trainer.heads().heads) {
    append_floats(head.linear, result.weights);
    for (const auto& block : head.blocks) append_floats(block.weight, result.weights);
  }
  return result;
}

double normalised_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(error / norm);
}

struct Case {
  DType type;
  bool eight_bit;
  double state_bound, loss_bound;
};

class TrainingOnGpu : public testing::TestWithParam<Case> {};

// f32: sums in another order, 1e-6 and less. bf16: states and logits are rounded, so that a difference of one
// ulp (2^-8 relative) at a rounding's edge moves a loss of about 5 by some 1e-3.
TEST_P(TrainingOnGpu, AgreesWithTheCpu) {
  const auto& [type, eight_bit, state_bound, loss_bound] = GetParam();
  TinyModel model(3, kVocabulary);
  if (type == DType::bf16) model.round_to_bf16();
  const Sequences sequences = sequences_of(model);
  const Result cpu = train(model, sequences, type, eight_bit, {});
  const Result gpu = train(model, sequences, type, eight_bit, test_device());
  ASSERT_EQ(cpu.states.size(), gpu.states.size());
  EXPECT_LT(normalised_error(gpu.states, cpu.states), state_bound);
  for (size_t s = 0; s < kSteps; ++s) {
    EXPECT_NEAR(gpu.steps[s].loss, cpu.steps[s].loss, loss_bound * cpu.steps[s].loss) << "step " << s + 1;
    EXPECT_NEAR(gpu.steps[s].grad_norm, cpu.steps[s].grad_norm, 3 * loss_bound * cpu.steps[s].grad_norm);
    EXPECT_FALSE(gpu.steps[s].skipped);
  }
  EXPECT_LT(cpu.steps.back().loss, 0.99 * cpu.steps.front().loss)
      << "nothing is learnt: a test without sense";
  for (size_t k = 0; k < kHeads; ++k) {
    EXPECT_EQ(gpu.evaluation[k].targets, cpu.evaluation[k].targets);
    EXPECT_NEAR(gpu.evaluation[k].cross_entropy, cpu.evaluation[k].cross_entropy,
                loss_bound * cpu.evaluation[k].cross_entropy);
  }
  // The first steps of Adam move by g / |g|, whatever the size of g: where g is as small as its error,
  // weights part.
  EXPECT_LT(normalised_error(gpu.weights, cpu.weights), type == DType::f32 ? 1e-3 : 2e-2);
}

TEST_P(TrainingOnGpu, GivesTheSameBitsAgain) {
  const auto& [type, eight_bit, state_bound, loss_bound] = GetParam();
  TinyModel model(4, kVocabulary);
  if (type == DType::bf16) model.round_to_bf16();
  const Sequences sequences = sequences_of(model);
  const Result first = train(model, sequences, type, eight_bit, test_device());
  const Result second = train(model, sequences, type, eight_bit, test_device());
  EXPECT_EQ(first.states, second.states);
  EXPECT_EQ(first.weights, second.weights);
}

// A step in the steady state: the host sends tokens, positions and rows and reads one report. It neither
// waits for anything else nor allocates.
TEST_P(TrainingOnGpu, AStepNeitherWaitsNorAllocates) {
  const auto& [type, eight_bit, state_bound, loss_bound] = GetParam();
  TinyModel model(5, kVocabulary);
  if (type == DType::bf16) model.round_to_bf16();
  const Sequences sequences = sequences_of(model);
  const Stream stream(test_device(), 1);
  const ModelWeights weights = moved(model.weights(), test_device());
  const Backbone backbone(weights, type);
  HeadTrainer trainer(trainer_options(eight_bit), weights.lm_head, type, stream);
  StateRows rows;
  const auto step = [&](int64_t s) {
    forward_state_rows(backbone, sequences, kHeads, 2, rows, stream);
    trainer.step(rows, s);
  };
  for (int64_t s = 1; s <= 2; ++s) step(s);
  const emulation::HostCalls before = emulation::host_calls();
  step(kSteps);
  const emulation::HostCalls after = emulation::host_calls();
  EXPECT_EQ(after.synchronisations, before.synchronisations);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.heuristics, before.heuristics) << "algorithms are chosen again";
  EXPECT_EQ(after.readbacks, before.readbacks + 1);
  EXPECT_EQ(after.waits, before.waits + 1) << "for the report";
  EXPECT_GT(after.uploads, before.uploads);
}

// Results are read one step late: while a step is asked for, the host waits for nothing.
TEST_P(TrainingOnGpu, AStepIsAskedForBeforeTheLastOneIsRead) {
  const auto& [type, eight_bit, state_bound, loss_bound] = GetParam();
  TinyModel model(5, kVocabulary);
  if (type == DType::bf16) model.round_to_bf16();
  const Sequences sequences = sequences_of(model);
  const Stream stream(test_device(), 1);
  const ModelWeights weights = moved(model.weights(), test_device());
  const Backbone backbone(weights, type);
  HeadTrainer trainer(trainer_options(eight_bit), weights.lm_head, type, stream),
      plain(trainer_options(eight_bit), weights.lm_head, type, stream);
  RepeatedWork repeated;
  StateRows rows;
  int64_t waits = 0;
  for (int64_t s = 1; s <= kSteps; ++s) {
    waits = emulation::host_calls().waits;
    forward_state_rows(backbone, sequences, kHeads, 2, rows, stream, &repeated);
    trainer.begin(rows, s);
    if (s == 1) continue;
    EXPECT_EQ(emulation::host_calls().waits, waits);
    const StepResult late = trainer.finish();
    EXPECT_EQ(late.loss, plain.step(rows, s - 1).loss) << "step " << s - 1;
  }
  EXPECT_EQ(trainer.finish().loss, plain.step(rows, kSteps).loss);
  EXPECT_ANY_THROW(trainer.finish());
}

struct GraphsOff {
  GraphsOff() { emulation::set_graphs(false); }
  ~GraphsOff() { emulation::set_graphs(true); }
};

// Losses of steps whose sequences change: the first four alike, then others, then the first ones again.
std::vector<double> losses_of_changing_steps(const TinyModel& model, const std::vector<Sequences>& data,
                                             DType type, bool eight_bit) {
  const Stream stream(test_device(), 1);
  const ModelWeights weights = moved(model.weights(), test_device());
  const Backbone backbone(weights, type);
  HeadTrainer trainer(trainer_options(eight_bit), weights.lm_head, type, stream);
  RepeatedWork repeated;
  StateRows rows;
  std::vector<double> losses;
  for (const size_t which : {0, 0, 0, 0, 1, 1, 1, 0, 0, 2, 0, 1}) {
    forward_state_rows(backbone, data[which], kHeads, 2, rows, stream, &repeated);
    losses.push_back(trainer.step(rows, static_cast<int64_t>(losses.size()) + 1).loss);
  }
  return losses;
}

TEST_P(TrainingOnGpu, GraphsChangeNothingWhateverComesNext) {
  const auto& [type, eight_bit, state_bound, loss_bound] = GetParam();
  TinyModel model(6, kVocabulary);
  if (type == DType::bf16) model.round_to_bf16();
  // Others of the same shape, and a table whose rows need more memory.
  std::vector<Sequences> data = {sequences_of(model), sequences_of(model), sequences_of(model)};
  for (int32_t& label : data[2].labels) label = std::max(label, 1);
  const int64_t before = emulation::host_calls().graph_launches;
  const std::vector<double> with = losses_of_changing_steps(model, data, type, eight_bit);
  const int64_t launched = emulation::host_calls().graph_launches - before;
  EXPECT_GT(launched, 30) << "nothing was captured: a test without sense";
  const GraphsOff off;
  EXPECT_EQ(losses_of_changing_steps(model, data, type, eight_bit), with);
  EXPECT_EQ(emulation::host_calls().graph_launches - before, launched);
}

INSTANTIATE_TEST_SUITE_P(Types, TrainingOnGpu,
                         testing::Values(Case{DType::f32, false, 1e-6, 1e-5},
                                         Case{DType::f32, true, 1e-6, 1e-5},
                                         Case{DType::bf16, true, 1e-2, 2e-3}),
                         [](const auto& p) {
                           return std::string(name(p.param.type)) + (p.param.eight_bit ? "EightBit" : "");
                         });

}  // namespace
}  // namespace gorgon
