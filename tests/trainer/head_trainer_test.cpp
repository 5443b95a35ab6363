#include "trainer/head_trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/gemm.h"
#include "tests/trainer/weights_of_run.h"

namespace gorgon {
namespace {

constexpr int64_t kHidden = 32, kVocabulary = 300;
constexpr int kHeads = 3;

Tensor random_tensor(Shape shape, unsigned seed, float scale, DType type) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  Tensor wide(DType::f32, shape), tensor(type, shape);
  for (int64_t i = 0; i < wide.elements(); ++i) wide.as<float>()[i] = normal(random);
  convert(wide.view(), tensor.view(), Stream({}, 1));
  return tensor;
}

WeightMatrix lm_head(DType type) {
  return {type, kVocabulary, kHidden,
          std::make_shared<Tensor>(random_tensor({kVocabulary, kHidden}, 1, 0.5f, type))};
}

HeadTrainerOptions options_of(int heads = kHeads, int layers = 1) {
  HeadTrainerOptions options;
  options.heads = {heads, layers};
  options.optimizer.eight_bit = false;
  options.lr.learning_rate = 1e-2;
  options.lr_multiplier.assign(static_cast<size_t>(heads), 1.0);
  options.max_steps = 10;
  return options;
}

// P rows over as many states; every `masked`-th target of every head is -100.
StateRows table(int64_t rows, unsigned seed, int masked, DType type, int heads = kHeads) {
  StateRows t;
  t.hidden = random_tensor({rows, kHidden}, seed, 1.0f, type);
  std::vector<int32_t> row, targets;
  std::vector<int64_t> id;
  for (int64_t i = 0; i < rows; ++i) {
    row.push_back(static_cast<int32_t>(i));
    id.push_back(i);
    for (int k = 0; k < heads; ++k) {
      const bool none = masked > 0 && (i + k) % masked == 0;
      targets.push_back(none ? kIgnoreIndex : static_cast<int32_t>((i * 37 + k * 11 + seed) % kVocabulary));
    }
  }
  t.row = Tensor::of(row, {rows});
  t.targets = Tensor::of(targets, {rows, heads});
  t.id = Tensor::of(id, {rows});
  return t;
}

TEST(HeadTrainer, CountsLossesAndHitsOfTheStart) {
  // Logits of the start are lm_head's: a plain loop gives every number of the first step.
  const Stream stream({}, 2);
  const WeightMatrix head = lm_head(DType::f32);
  const StateRows rows = table(150, 3, 4, DType::f32);
  HeadTrainerOptions options = options_of();
  options.loss = {0.2, 0.8, MedusaScheduler::linear};
  HeadTrainer trainer(options, head, DType::f32, stream);
  std::vector<HeadMetrics> expected(kHeads);
  double loss = 0;
  for (int k = 0; k < kHeads; ++k) {
    HeadMetrics& m = expected[static_cast<size_t>(k)];
    for (int64_t i = 0; i < rows.rows(); ++i) {
      const int32_t label = rows.targets.as<int32_t>()[i * kHeads + k];
      if (label == kIgnoreIndex) continue;
      std::vector<double> z(kVocabulary);
      for (int64_t j = 0; j < kVocabulary; ++j) {
        for (int64_t h = 0; h < kHidden; ++h) {
          z[static_cast<size_t>(j)] += static_cast<double>(rows.hidden.as<float>()[i * kHidden + h]) *
                                       static_cast<double>(head.view().as<float>()[j * kHidden + h]);
        }
      }
      double sum = 0;
      int above = 0;
      for (const double v : z) {
        sum += std::exp(v);
        above += v > z[static_cast<size_t>(label)];
      }
      m.cross_entropy += std::log(sum) - z[static_cast<size_t>(label)];
      ++m.targets;
      for (int n = above; n < 5; ++n) ++m.top[n];
    }
    loss += 0.2 * std::pow(0.8, k + 1) * (4.0 / 10.0) * m.cross_entropy / static_cast<double>(m.targets);
  }
  std::vector<HeadMetrics> evaluated(kHeads);
  trainer.evaluate(rows, evaluated);
  trainer.evaluate(rows, evaluated);  // adds
  const StepResult result = trainer.step(rows, 4);
  EXPECT_NEAR(result.loss, loss, 1e-6 * loss);
  EXPECT_GT(expected[0].top[4], 0) << "no hit among the first five: the comparison is empty";
  for (size_t k = 0; k < kHeads; ++k) {
    EXPECT_EQ(result.heads[k].targets, expected[k].targets);
    EXPECT_EQ(evaluated[k].targets, 2 * expected[k].targets);
    EXPECT_NEAR(result.heads[k].cross_entropy, expected[k].cross_entropy, 1e-6 * expected[k].cross_entropy);
    EXPECT_NEAR(evaluated[k].cross_entropy, 2 * expected[k].cross_entropy, 2e-6 * expected[k].cross_entropy);
    for (int n = 0; n < 5; ++n) {
      EXPECT_EQ(result.heads[k].top[n], expected[k].top[n]);
      EXPECT_EQ(evaluated[k].top[n], 2 * expected[k].top[n]);
    }
  }
}

TEST(HeadTrainer, ChunksAgreeToRoundingAndThreadsToTheBit) {
  for (const DType type : {DType::f32, DType::bf16}) {
    std::vector<std::vector<float>> weights;
    std::vector<float> start;
    for (const auto& [chunk_rows, threads] : {std::pair{1024, 1}, {1024, 3}, {64, 2}, {128, 1}}) {
      const Stream stream({}, threads);
      HeadTrainerOptions options = options_of(kHeads, 2);
      options.chunk_rows = chunk_rows;
      HeadTrainer trainer(options, lm_head(type), type, stream);
      if (start.empty()) start = all_weights(trainer);
      for (int64_t s = 1; s <= 3; ++s) trainer.step(table(333, static_cast<unsigned>(s), 3, type), s);
      weights.push_back(all_weights(trainer));
    }
    EXPECT_EQ(weights[0], weights[1]) << "threads";
    // f32: sums in another order, 1e-7 relative each, which the first steps of Adam (g / |g|) enlarge where g
    // is about zero. bf16: a gradient rounded to a neighbour (2^-9), and weights to either side of a random
    // number.
    const double bound = type == DType::f32 ? 1e-4 : 3e-2;
    EXPECT_LT(distance(weights[0], weights[2], start), bound);
    EXPECT_LT(distance(weights[0], weights[3], start), bound);
  }
}

TEST(HeadTrainer, TwoTablesJoinedAreOneStep) {
  // Micro-batches only append states: rows of both halves, cut anywhere, are the rows of the whole.
  const Stream stream({}, 2);
  const StateRows whole = table(200, 5, 4, DType::f32);
  StateRows mixed = table(200, 5, 4, DType::f32);  // the halves in the other order
  for (int64_t i = 0; i < 200; ++i) {
    const int64_t from = (i + 100) % 200;
    mixed.row.as<int32_t>()[i] = static_cast<int32_t>(from);
    std::memcpy(mixed.targets.as<int32_t>() + i * kHeads, whole.targets.as<int32_t>() + from * kHeads,
                kHeads * sizeof(int32_t));
  }
  HeadTrainer a(options_of(), lm_head(DType::f32), DType::f32, stream);
  HeadTrainer b(options_of(), lm_head(DType::f32), DType::f32, stream);
  const std::vector<float> start = all_weights(a);
  const StepResult first = a.step(whole, 1), second = b.step(mixed, 1);
  EXPECT_NEAR(first.loss, second.loss, 1e-6 * first.loss);
  EXPECT_NEAR(first.grad_norm, second.grad_norm, 1e-6 * first.grad_norm);
  EXPECT_LT(distance(all_weights(a), all_weights(b), start), 1e-4);  // as above
}

TEST(HeadTrainer, MaskedRowsChangeNothing) {
  // Rows without any target put between the others: the same bits, since they are left out before the
  // products.
  const Stream stream({}, 2);
  const StateRows plain = table(100, 7, 0, DType::bf16);
  StateRows sparse = table(300, 7, 0, DType::bf16);
  for (int64_t i = 0; i < 300; ++i) {
    const int64_t from = i / 3;
    for (int64_t h = 0; h < kHidden && i % 3 == 1; ++h) {
      sparse.hidden.as<bf16>()[i * kHidden + h] = plain.hidden.as<bf16>()[from * kHidden + h];
    }
    for (int k = 0; k < kHeads; ++k) {
      sparse.targets.as<int32_t>()[i * kHeads + k] =
          i % 3 == 1 ? plain.targets.as<int32_t>()[from * kHeads + k] : kIgnoreIndex;
    }
  }
  HeadTrainer a(options_of(), lm_head(DType::bf16), DType::bf16, stream);
  HeadTrainer b(options_of(), lm_head(DType::bf16), DType::bf16, stream);
  const StepResult first = a.step(plain, 1), second = b.step(sparse, 1);
  EXPECT_EQ(first.loss, second.loss);
  EXPECT_EQ(first.grad_norm, second.grad_norm);
  EXPECT_EQ(all_weights(a), all_weights(b));
}

TEST(HeadTrainer, AHeadWithoutTargetsHasNoLoss) {
  const Stream stream({}, 1);
  StateRows rows = table(70, 9, 0, DType::f32);
  for (int64_t i = 0; i < 70; ++i) rows.targets.as<int32_t>()[i * kHeads + 1] = kIgnoreIndex;
  HeadTrainer trainer(options_of(), lm_head(DType::f32), DType::f32, stream);
  const std::vector<float> start = all_weights(trainer);
  const StepResult result = trainer.step(rows, 1);
  EXPECT_FALSE(result.skipped);
  EXPECT_EQ(result.heads[1].targets, 0);
  EXPECT_TRUE(std::isfinite(result.loss));
  const size_t per_head = start.size() / kHeads;
  const std::vector<float> end = all_weights(trainer);
  EXPECT_TRUE(std::equal(end.begin() + static_cast<long>(per_head),
                         end.begin() + static_cast<long>(2 * per_head),
                         start.begin() + static_cast<long>(per_head)));
  EXPECT_FALSE(std::equal(end.begin(), end.begin() + static_cast<long>(per_head), start.begin()));
  HeadTrainer idle(options_of(), lm_head(DType::f32), DType::f32, stream);
  EXPECT_EQ(idle.step(StateRows{}, 1).loss, 0.0);  // a table without rows
}

TEST(HeadTrainer, NotANumberSkipsTheStepAndNamesTheHead) {
  const Stream stream({}, 2);
  for (const bool eight_bit : {true, false}) {
    HeadTrainerOptions options = options_of();
    options.optimizer.eight_bit = eight_bit;
    HeadTrainer trainer(options, lm_head(DType::bf16), DType::bf16, stream);
    const StateRows good = table(100, 11, 0, DType::bf16);
    StateRows bad = table(100, 11, 0, DType::bf16);
    bad.hidden.as<bf16>()[5] = bf16(std::numeric_limits<float>::quiet_NaN());
    bad.targets.as<int32_t>()[0] = kIgnoreIndex;  // head 0 does not read the poisoned state
    trainer.step(good, 1);
    const std::vector<float> before = all_weights(trainer);
    std::vector<std::vector<std::byte>> states;
    for (const auto& s : trainer.optimizer_state()) {
      states.emplace_back(s.view.data, s.view.data + bytes_of(s.view.type, s.view.elements()));
    }
    const StepResult result = trainer.step(bad, 2);
    EXPECT_TRUE(result.skipped);
    EXPECT_EQ(result.skipped_head, 1);
    EXPECT_EQ(trainer.adam_steps(), 1);
    EXPECT_EQ(all_weights(trainer), before);
    size_t i = 0;
    for (const auto& s : trainer.optimizer_state()) {
      EXPECT_EQ(std::memcmp(states[i].data(), s.view.data, states[i].size()), 0) << s.name;
      ++i;
    }
    EXPECT_FALSE(trainer.step(good, 3).skipped);
    EXPECT_EQ(trainer.adam_steps(), 2);
  }
}

TEST(HeadTrainer, GoesOnFromCopiedStatesToTheSameBits) {
  const Stream stream({}, 2);
  HeadTrainerOptions options = options_of();
  options.optimizer.eight_bit = true;
  options.optimizer.f32_master_weights = true;
  HeadTrainer a(options, lm_head(DType::bf16), DType::bf16, stream);
  HeadTrainer b(options, lm_head(DType::bf16), DType::bf16, stream);
  for (int64_t s = 1; s <= 2; ++s) a.step(table(90, static_cast<unsigned>(s), 0, DType::bf16), s);
  const auto copy = [](View from, View to) {
    std::memcpy(to.data, from.data, static_cast<size_t>(bytes_of(from.type, from.elements())));
  };
  const auto from = a.optimizer_state(), to = b.optimizer_state();
  ASSERT_EQ(from.size(), to.size());
  for (size_t i = 0; i < from.size(); ++i) copy(from[i].view, to[i].view);
  const auto weights = parameters(a.heads()), target = parameters(b.heads());
  for (size_t i = 0; i < weights.size(); ++i) copy(weights[i].view, target[i].view);
  b.set_adam_steps(a.adam_steps());
  for (int64_t s = 3; s <= 4; ++s) {
    a.step(table(90, static_cast<unsigned>(s), 0, DType::bf16), s);
    b.step(table(90, static_cast<unsigned>(s), 0, DType::bf16), s);
  }
  EXPECT_EQ(all_weights(a), all_weights(b));
  std::vector<std::string> names;
  for (const auto& s : from) names.push_back(s.name);
  EXPECT_EQ(names[0], "optimizer.0.0.linear.weight.momentum");
}

TEST(HeadTrainer, ScalesTheGradientToTheNormAsked) {
  // With plain SGD-like first moments a clipped step equals one with a scaled loss: Adam hides the scale, its
  // momentum does not.
  const Stream stream({}, 1);
  HeadTrainerOptions options = options_of();
  options.optimizer.max_grad_norm = 0.0f;
  HeadTrainer free_run(options, lm_head(DType::f32), DType::f32, stream);
  const StateRows rows = table(100, 13, 0, DType::f32);
  const double norm = free_run.step(rows, 1).grad_norm;
  options.optimizer.max_grad_norm = static_cast<float>(norm / 3);
  HeadTrainer clipped(options, lm_head(DType::f32), DType::f32, stream);
  EXPECT_NEAR(clipped.step(rows, 1).grad_norm, norm, 1e-9);  // reported before clipping
  const auto a = free_run.optimizer_state(), b = clipped.optimizer_state();
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].name.ends_with("momentum")) continue;
    for (int64_t j = 0; j < a[i].view.elements(); ++j) {
      const float m = a[i].view.as<float>()[j];
      ASSERT_NEAR(b[i].view.as<float>()[j], m / 3.0f, 1e-5f * std::abs(m));
    }
  }
}

// Gradients are filtered in bf16 as in f32, where one chunk is a step and where several are added up: a
// threshold below every probability of 300 tokens changes nothing but the order of sums (bounds as for other
// chunks).
TEST(HeadTrainer, AFilterThatKeepsAllTokensAgreesToRounding) {
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const int64_t chunk_rows : {1024, 128}) {
      const Stream stream({}, 2);
      HeadTrainerOptions options = options_of();
      options.chunk_rows = chunk_rows;
      HeadTrainer plain(options, lm_head(type), type, stream);
      const std::vector<float> start = all_weights(plain);
      options.gradient_filter = 1e-12;
      HeadTrainer filtered(options, lm_head(type), type, stream);
      for (int64_t s = 1; s <= 3; ++s) {
        const StateRows rows = table(333, static_cast<unsigned>(s), 3, type);
        plain.step(rows, s);
        filtered.step(rows, s);
      }
      EXPECT_LT(distance(all_weights(plain), all_weights(filtered), start), type == DType::f32 ? 1e-4 : 3e-2);
    }
  }
}

TEST(HeadTrainer, RefusesTargetsOutsideTheVocabulary) {
  const Stream stream({}, 1);
  HeadTrainer trainer(options_of(), lm_head(DType::f32), DType::f32, stream);
  StateRows rows = table(10, 1, 0, DType::f32);
  rows.targets.as<int32_t>()[4] = kVocabulary;
  EXPECT_THROW(trainer.step(rows, 1), Error);
}

// 50 steps on new rows of a task that can be learned (targets are another Linear's favourites): bf16 states,
// weights and gradients with eight-bit moments and stochastic rounding against f32 throughout. bf16 rounds at
// 2^-9 of each value; without a drift the losses of 512 rows stay within 2 %.
TEST(HeadTrainer, Bf16StaysWithinTwoPercentOfF32) {
  const Stream stream({}, 2);
  const Tensor teacher = random_tensor({kVocabulary, kHidden}, 99, 0.5f, DType::f32);
  HeadTrainerOptions options = options_of(1);
  options.lr.learning_rate = 1e-2;
  HeadTrainer wide(options, lm_head(DType::f32), DType::f32, stream);
  options.optimizer.eight_bit = true;
  HeadTrainer narrow(options, lm_head(DType::bf16), DType::bf16, stream);
  double first = 0, last = 0;
  for (int64_t s = 1; s <= 50; ++s) {
    StateRows rows = table(512, 1000u + static_cast<unsigned>(s), 0, DType::f32, 1);
    Tensor favourites(DType::f32, {512, kVocabulary});
    gemm(rows.hidden.view(), teacher.view(), favourites.view(), {.transpose_b = true}, stream);
    for (int64_t i = 0; i < 512; ++i) {
      const float* z = favourites.as<float>() + i * kVocabulary;
      rows.targets.as<int32_t>()[i] = static_cast<int32_t>(std::max_element(z, z + kVocabulary) - z);
    }
    const StepResult expected = wide.step(rows, s);
    Tensor hidden(DType::bf16, rows.hidden.shape());
    convert(rows.hidden.view(), hidden.view(), stream);
    rows.hidden = std::move(hidden);
    EXPECT_NEAR(narrow.step(rows, s).loss, expected.loss, 0.02 * expected.loss) << "step " << s;
    (s == 1 ? first : last) = expected.loss;
  }
  EXPECT_LT(last, 0.7 * first) << "nothing was learned: the comparison is empty";
}

TEST(HeadWeight, FollowsTheSchedules) {
  LossOptions options{0.5, 0.5, MedusaScheduler::constant};
  EXPECT_DOUBLE_EQ(head_weight(options, 0, 1, 8), 0.25);
  EXPECT_DOUBLE_EQ(head_weight(options, 2, 1, 8), 0.0625);
  options.scheduler = MedusaScheduler::linear;
  EXPECT_DOUBLE_EQ(head_weight(options, 0, 2, 8), 0.0625);
  options.scheduler = MedusaScheduler::sine;
  EXPECT_DOUBLE_EQ(head_weight(options, 0, 4, 8), 0.25 * std::sqrt(0.5));
  EXPECT_DOUBLE_EQ(head_weight(options, 0, 8, 8), 0.25);
}

}  // namespace
}  // namespace gorgon
