#include "model/head_pass.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace gorgon {
namespace {

constexpr int64_t kHidden = 16, kVocabulary = 96, kStates = 20;

Tensor random_tensor(Shape shape, unsigned seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  Tensor tensor(DType::f32, shape);
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.as<float>()[i] = normal(random);
  return tensor;
}

WeightMatrix lm_head_of(int64_t rows, int64_t columns) {
  return {DType::f32, rows, columns, std::make_shared<Tensor>(random_tensor({rows, columns}, 11, 0.5f))};
}

// A form of heads; rank is that of lowrank.
struct Form {
  HeadLinear linear;
  int layers;
  int64_t rank = 0;
};

HeadPassShape shape_of(const Form& form) {
  return {64, kHidden, kVocabulary, form.layers, DType::f32, form.rank};
}

MedusaHead random_head(const Form& form) {
  MedusaHead head;
  const int layers = form.layers;
  for (int l = 0; l < layers; ++l) {
    const auto seed = static_cast<unsigned>(20 + 2 * l);
    head.blocks.push_back(
        {random_tensor({kHidden, kHidden}, seed, 0.3f), random_tensor({kHidden}, seed + 1, 0.3f)});
  }
  if (form.linear == HeadLinear::own) {
    head.linear = random_tensor({kVocabulary, kHidden}, 40, 0.3f);
  } else {
    head.frozen = lm_head_of(kVocabulary, kHidden);
  }
  if (form.rank > 0) {
    head.a = random_tensor({form.rank, kHidden}, 41, 0.3f);
    head.b = random_tensor({kVocabulary, form.rank}, 42, 0.3f);
  }
  return head;
}

std::vector<Tensor*> tensors(MedusaHead& head) {
  std::vector<Tensor*> all;
  for (MedusaHead::ResBlock& block : head.blocks) {
    all.push_back(&block.weight);
    all.push_back(&block.bias);
  }
  for (Tensor* last : {&head.linear, &head.a, &head.b}) {
    if (!last->empty()) all.push_back(last);
  }
  return all;
}

// A gradient for every tensor of tensors(head), and where HeadPass writes them.
struct Gradients {
  std::vector<Tensor> values;
  HeadGradients views;

  Gradients(MedusaHead& head, const Form& form) {
    for (Tensor* t : tensors(head)) values.emplace_back(DType::f32, t->shape());
    const size_t blocks = 2 * head.blocks.size();
    for (size_t i = 0; i < blocks; i += 2) {
      views.weight.push_back(values[i].view());
      views.bias.push_back(values[i + 1].view());
    }
    if (form.linear == HeadLinear::own) views.linear = values[blocks].view();
    if (form.linear != HeadLinear::lowrank) return;
    views.a = values[blocks].view();
    views.b = values[blocks + 1].view();
  }
};

// One row twice, one state never read, one row without a target.
struct Problem {
  Stream stream{{}, 2};
  Tensor hidden = random_tensor({kStates, kHidden}, 1, 1.0f);
  Tensor rows = Tensor::of(std::vector<int32_t>{3, 0, 7, 7, 19, 2, 11}, {7});
  Tensor labels = Tensor::of(std::vector<int32_t>{5, 95, 0, 33, -100, 40, 41}, {7});
  std::vector<float> scales = {0.1f, 0.2f, 0.3f, 0.1f, 0.0f, 0.2f, 0.5f};
  Tensor scale = Tensor::of(scales, {7});

  double loss(HeadPass& pass, const MedusaHead& head) {
    pass.forward(head, hidden.view(), rows.view(), labels.view(), stream);
    const std::vector<double> losses = pass.losses(stream);
    double sum = 0;
    for (size_t i = 0; i < losses.size(); ++i) {
      if (scales[i] != 0.0f) sum += static_cast<double>(scales[i]) * losses[i];
    }
    return sum;
  }
};

class HeadPassForms : public ::testing::TestWithParam<Form> {};

// Every parameter of the head against central differences: relative to each tensor's gradient norm 2e-3, for
// f32 losses of size 10 (error 1e-6) over a step of 2 * 0.01, and the third derivative.
TEST_P(HeadPassForms, GradientsAgreeWithFiniteDifferences) {
  Problem problem;
  MedusaHead head = random_head(GetParam());
  HeadPass pass(shape_of(GetParam()), {});
  Gradients to(head, GetParam());
  const std::vector<Tensor>& gradients = to.values;
  problem.loss(pass, head);
  pass.backward(head, problem.labels.view(), problem.scale.view(), to.views, Write::overwrite,
                problem.stream);

  constexpr float kStep = 0.01f;
  for (size_t t = 0; t < gradients.size(); ++t) {
    Tensor& parameter = *tensors(head)[t];
    double error = 0, norm = 0;
    for (int64_t i = 0; i < parameter.elements(); ++i) {
      float& x = parameter.as<float>()[i];
      const float before = x;
      x = before + kStep;
      const double up = problem.loss(pass, head);
      x = before - kStep;
      const double slope = (up - problem.loss(pass, head)) / (2.0 * static_cast<double>(kStep));
      x = before;
      error += std::pow(slope - static_cast<double>(gradients[t].as<float>()[i]), 2);
      norm += slope * slope;
    }
    EXPECT_GT(norm, 0.0);
    EXPECT_LT(std::sqrt(error / norm), 2e-3) << "parameter " << t;
  }
}

TEST_P(HeadPassForms, AccumulatingTwiceIsTwiceTheGradient) {
  Problem problem;
  MedusaHead head = random_head(GetParam());
  HeadPass pass(shape_of(GetParam()), {});
  Gradients once(head, GetParam()), twice(head, GetParam());
  const auto run = [&](const Gradients& to, Write write) {
    problem.loss(pass, head);
    pass.backward(head, problem.labels.view(), problem.scale.view(), to.views, write, problem.stream);
  };
  run(once, Write::overwrite);
  run(twice, Write::overwrite);
  run(twice, Write::accumulate);
  for (size_t t = 0; t < once.values.size(); ++t) {
    for (int64_t i = 0; i < once.values[t].elements(); ++i) {
      ASSERT_NEAR(twice.values[t].as<float>()[i], 2.0f * once.values[t].as<float>()[i], 1e-6f) << t;
    }
  }
}

// Heads take turns in one HeadPass: what it keeps of one must not reach the next.
TEST_P(HeadPassForms, AnotherHeadInBetweenChangesNothing) {
  Problem problem;
  const MedusaHead head = random_head(GetParam());
  MedusaHead other = random_head(GetParam());
  for (Tensor* t : tensors(other)) t->as<float>()[3] += 1.0f;
  if (!other.frozen.empty())
    other.frozen.storage = std::make_shared<Tensor>(random_tensor({kVocabulary, kHidden}, 43, 0.5f));
  HeadPass pass(shape_of(GetParam()), {});
  const double before = problem.loss(pass, head);
  EXPECT_NE(problem.loss(pass, other), before);
  EXPECT_EQ(problem.loss(pass, head), before);
}

// Relative distance of two tensors.
double distance(const Tensor& a, const Tensor& b) {
  double error = 0, norm = 0;
  for (int64_t i = 0; i < a.elements(); ++i) {
    error += std::pow(static_cast<double>(a.as<float>()[i]) - static_cast<double>(b.as<float>()[i]), 2);
    norm += std::pow(static_cast<double>(b.as<float>()[i]), 2);
  }
  return std::sqrt(error / norm);
}

// A filter that no token falls below: the same sums in another order (f32, 1e-7 each), overwritten and added.
TEST_P(HeadPassForms, AFilterThatKeepsAllTokensChangesNothing) {
  Problem problem;
  MedusaHead head = random_head(GetParam());
  HeadPassShape shape = shape_of(GetParam());
  HeadPass plain(shape, {});
  shape.gradient_filter = 1e-12f;
  HeadPass filtered(shape, {});
  Gradients expected(head, GetParam()), found(head, GetParam());
  for (const Write write : {Write::overwrite, Write::accumulate}) {
    EXPECT_EQ(problem.loss(plain, head), problem.loss(filtered, head));
    plain.backward(head, problem.labels.view(), problem.scale.view(), expected.views, write, problem.stream);
    filtered.backward(head, problem.labels.view(), problem.scale.view(), found.views, write, problem.stream);
    EXPECT_EQ(filtered.kept_tokens(), kVocabulary);
    EXPECT_EQ(plain.hits(problem.stream), filtered.hits(problem.stream));
    for (size_t t = 0; t < found.values.size(); ++t) {
      EXPECT_LT(distance(found.values[t], expected.values[t]), 1e-6) << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, HeadPassForms,
                         ::testing::Values(Form{HeadLinear::own, 1}, Form{HeadLinear::own, 2},
                                           Form{HeadLinear::own, 3}, Form{HeadLinear::shared, 1},
                                           Form{HeadLinear::shared, 2}, Form{HeadLinear::lowrank, 1, 5},
                                           Form{HeadLinear::lowrank, 2, 8}));

// Heads start as lm_head behind exact identities: the same logits, hence the same loss to the bit.
TEST(MedusaHeads, StartAsTheLmHeadExactly) {
  Problem problem;
  const WeightMatrix lm_head = lm_head_of(kVocabulary, kHidden);
  for (const int layers : {1, 2}) {
    MedusaHeads heads = MedusaHeads::initialise({3, layers}, lm_head, {}, DType::f32, 1, problem.stream);
    ASSERT_EQ(heads.heads.size(), 3u);
    Tensor x(DType::f32, {7, kHidden}), logits(DType::f32, {7, kVocabulary}), max(DType::f32, {7}),
        sum(DType::f32, {7}), y(DType::f32, {7});
    for (int64_t i = 0; i < 7; ++i) {
      std::memcpy(x.as<float>() + i * kHidden,
                  problem.hidden.as<float>() + problem.rows.as<int32_t>()[i] * kHidden,
                  kHidden * sizeof(float));
    }
    cross_entropy_statistics(x.view(), lm_head.view(), problem.labels.view(), 0, logits.view(),
                             {max.view(), sum.view(), y.view()}, problem.stream);
    HeadPass pass({64, kHidden, kVocabulary, layers, DType::f32}, {});
    for (const MedusaHead& head : heads.heads) {
      pass.forward(head, problem.hidden.view(), problem.rows.view(), problem.labels.view(), problem.stream);
      const std::vector<double> losses = pass.losses(problem.stream);
      for (int64_t i = 0; i < 7; ++i) {
        if (problem.labels.as<int32_t>()[i] < 0) continue;
        EXPECT_EQ(losses[static_cast<size_t>(i)], static_cast<double>(max.as<float>()[i]) +
                                                      std::log(static_cast<double>(sum.as<float>()[i])) -
                                                      static_cast<double>(y.as<float>()[i]));
      }
    }
  }
}

TEST(MedusaHeads, NamesAreThoseOfTheEngines) {
  const Stream stream({}, 1);
  MedusaHeads heads = MedusaHeads::initialise({2, 2}, lm_head_of(8, 4), {}, DType::bf16, 1, stream);
  std::vector<std::string> names;
  for (const NamedParameter& p : parameters(heads)) names.push_back(p.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"0.0.linear.weight", "0.0.linear.bias", "0.1.linear.weight",
                                      "0.1.linear.bias", "0.2.weight", "1.0.linear.weight", "1.0.linear.bias",
                                      "1.1.linear.weight", "1.1.linear.bias", "1.2.weight"}));
  // Distinct blocks: a change of one layer leaves the others alone.
  heads.heads[0].blocks[0].bias.as<bf16>()[0] = bf16(1.0f);
  EXPECT_EQ(static_cast<float>(heads.heads[0].blocks[1].bias.as<bf16>()[0]), 0.0f);
  EXPECT_EQ(static_cast<float>(heads.heads[1].blocks[0].bias.as<bf16>()[0]), 0.0f);
}

// More tokens than one product takes, about half of which vanish. ResBlocks of zero are identities, so that
// the Linear reads `hidden` itself: a token left out loses at most t sum_i scale_i |x_i| of its row's
// gradient. The bias reads the features' gradient by silu'(0) = 1/2: it loses at most t / 2 sum_i scale_i
// sum_j |W_j| over those tokens.
TEST(HeadPass, AFilterLeavesOutLittle) {
  constexpr int64_t kTokens = 20000;
  constexpr float kThreshold = 2e-5f;
  Problem problem;
  const Form form{HeadLinear::own, 1};
  MedusaHead head = random_head(form);
  for (Tensor* t : tensors(head)) std::memset(t->data(), 0, static_cast<size_t>(t->bytes()));
  head.linear = random_tensor({kTokens, kHidden}, 40, 0.5f);
  HeadPassShape shape = shape_of(form);
  shape.vocabulary = kTokens;
  HeadPass plain(shape, {});
  shape.gradient_filter = kThreshold;
  HeadPass filtered(shape, {});
  Gradients expected(head, form), found(head, form);
  problem.loss(plain, head);
  plain.backward(head, problem.labels.view(), problem.scale.view(), expected.views, Write::overwrite,
                 problem.stream);
  problem.loss(filtered, head);
  filtered.backward(head, problem.labels.view(), problem.scale.view(), found.views, Write::overwrite,
                    problem.stream);
  ASSERT_GT(filtered.kept_tokens(), 9000);  // two products
  ASSERT_LT(filtered.kept_tokens(), kTokens - 2000);

  double bound = 0, scale = 0, skipped = 0;
  const auto norm = [](const float* x) {
    double sum = 0;
    for (int64_t i = 0; i < kHidden; ++i) sum += std::pow(static_cast<double>(x[i]), 2);
    return std::sqrt(sum);
  };
  for (size_t i = 0; i < problem.scales.size(); ++i) {
    const auto s = static_cast<double>(problem.scales[i] * kThreshold);
    bound += s * norm(problem.hidden.as<float>() + problem.rows.as<int32_t>()[i] * kHidden);
    scale += s;
  }
  int64_t left_out = 0;
  for (int64_t j = 0; j < kTokens; ++j) {
    const float* row = found.views.linear.as<float>() + j * kHidden;
    const float* exact = expected.views.linear.as<float>() + j * kHidden;
    if (norm(row) == 0.0) {
      ++left_out;
      skipped += norm(head.linear.as<float>() + j * kHidden);
      ASSERT_LE(norm(exact), bound) << j;
      continue;
    }
    for (int64_t i = 0; i < kHidden; ++i) ASSERT_NEAR(row[i], exact[i], 1e-6f * norm(exact)) << j;
  }
  EXPECT_EQ(left_out, kTokens - filtered.kept_tokens());
  double error = 0;
  for (int64_t i = 0; i < kHidden; ++i) {
    error += std::pow(static_cast<double>(found.views.bias[0].as<float>()[i]) -
                          static_cast<double>(expected.views.bias[0].as<float>()[i]),
                      2);
  }
  EXPECT_GT(error, 0.0);
  EXPECT_LE(std::sqrt(error), scale / 2.0 * skipped);
}

TEST(HeadPass, TellsItsWorkspace) {
  // x: 3, du: 1 of bf16; u: 2, dy: 1 of f32; logits 64 x 128 of bf16; four columns of numbers
  EXPECT_EQ(HeadPass::workspace_bytes({64, 16, 96, 2, DType::bf16}),
            64 * 16 * (4 * 2 + 3 * 4) + 64 * 128 * 2 + 4 * 64 * 4);
  // low rank: four columns more of x (bf16) and dy (f32), [W0, B], the row numbers, dv twice
  EXPECT_EQ(HeadPass::workspace_bytes({64, 16, 96, 2, DType::bf16, 4}),
            64 * 16 * (4 * 2 + 3 * 4) + 64 * 128 * 2 + 4 * 64 * 4 + 64 * 4 * (2 + 4) + 96 * 20 * 2 + 64 * 4 +
                64 * 4 * (4 + 2));
  // a filter: weights (bf16) and gradients (f32) of as many tokens as logits have columns
  EXPECT_EQ(HeadPass::workspace_bytes({64, 16, 96, 2, DType::bf16, 0, std::nullopt, 1e-3f}),
            HeadPass::workspace_bytes({64, 16, 96, 2, DType::bf16}) + 128 * 16 * (2 + 4));
}

}  // namespace
}  // namespace gorgon
