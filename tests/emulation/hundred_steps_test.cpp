#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "tests/emulation/moved_model.h"
#include "tests/kernels/on_device.h"
#include "tests/model/tiny_model.h"
#include "trainer/head_trainer.h"
#include "trainer/state_source.h"

// A hundred steps of training, backbone and heads, on the device beside the CPU.
namespace gorgon {
namespace {

constexpr int kHeads = 2, kSteps = 100;

Sequences sequences_of(TinyModel& model) {
  Sequences s;
  s.offsets.push_back(0);
  for (const int length : {20, 7, 13}) {
    s.first_id.push_back(static_cast<int64_t>(s.tokens.size()));
    for (const int32_t token : model.prompt(length)) {
      s.tokens.push_back(token);
      s.labels.push_back(token % 5 == 0 ? kIgnoreIndex : token);
      s.segments.push_back(0);
    }
    s.offsets.push_back(static_cast<int64_t>(s.tokens.size()));
  }
  return s;
}

std::vector<double> losses_on(Device device, const TinyModel& model, const Sequences& sequences, DType type) {
  const Stream stream(device, 1);
  const ModelWeights weights = moved(model.weights(), device);
  const Backbone backbone(weights, type);
  HeadTrainerOptions options;
  options.heads = {kHeads, 1};
  options.optimizer.eight_bit = type == DType::bf16;
  options.lr.learning_rate = 1e-3;
  options.lr_multiplier.assign(kHeads, 1.0);
  options.max_steps = kSteps;
  options.chunk_rows = 64;
  HeadTrainer trainer(options, weights.lm_head, type, stream);
  std::vector<double> losses;
  for (int64_t s = 1; s <= kSteps; ++s) {
    losses.push_back(trainer.step(forward_state_rows(backbone, sequences, kHeads, 2, stream), s).loss);
  }
  return losses;
}

// f32: sums in another order, some 1e-6, which a hundred steps of Adam carry on. bf16: a weight that is
// rounded to its other neighbour (2^-8 relative) at the edge moves a loss by some 1e-3; chance alone leads
// further.
TEST(HundredSteps, AgreeWithTheCpu) {
  for (const auto& [type, bound] : {std::pair{DType::f32, 1e-4}, std::pair{DType::bf16, 1e-2}}) {
    TinyModel model(3, 150);
    if (type == DType::bf16) model.round_to_bf16();
    const Sequences sequences = sequences_of(model);
    const std::vector<double> expected = losses_on({}, model, sequences, type);
    const std::vector<double> losses = losses_on(test_device(), model, sequences, type);
    EXPECT_LT(expected.back(), 0.9 * expected.front()) << "nothing is learnt: a test without sense";
    for (size_t s = 0; s < losses.size(); ++s) {
      EXPECT_NEAR(losses[s], expected[s], bound * expected[s]) << name(type) << " step " << s + 1;
    }
  }
}

}  // namespace
}  // namespace gorgon
