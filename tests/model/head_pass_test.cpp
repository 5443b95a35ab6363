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

MedusaHead random_head(int layers) {
  MedusaHead head;
  for (int l = 0; l < layers; ++l) {
    const auto seed = static_cast<unsigned>(20 + 2 * l);
    head.blocks.push_back(
        {random_tensor({kHidden, kHidden}, seed, 0.3f), random_tensor({kHidden}, seed + 1, 0.3f)});
  }
  head.linear = random_tensor({kVocabulary, kHidden}, 40, 0.3f);
  return head;
}

std::vector<Tensor*> tensors(MedusaHead& head) {
  std::vector<Tensor*> all;
  for (MedusaHead::ResBlock& block : head.blocks) {
    all.push_back(&block.weight);
    all.push_back(&block.bias);
  }
  all.push_back(&head.linear);
  return all;
}

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

class HeadPassLayers : public ::testing::TestWithParam<int> {};

// Every parameter of the head against central differences: relative to each tensor's gradient norm 2e-3, for
// f32 losses of size 10 (error 1e-6) over a step of 2 * 0.01, and the third derivative.
TEST_P(HeadPassLayers, GradientsAgreeWithFiniteDifferences) {
  Problem problem;
  MedusaHead head = random_head(GetParam());
  HeadPass pass({64, kHidden, kVocabulary, GetParam(), DType::f32}, {});
  std::vector<Tensor> gradients;
  HeadGradients views;
  for (Tensor* t : tensors(head)) gradients.emplace_back(DType::f32, t->shape());
  for (size_t l = 0; l < head.blocks.size(); ++l) {
    views.weight.push_back(gradients[2 * l].view());
    views.bias.push_back(gradients[2 * l + 1].view());
  }
  views.linear = gradients.back().view();
  problem.loss(pass, head);
  pass.backward(head, problem.labels.view(), problem.scale.view(), views, Write::overwrite, problem.stream);

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
    EXPECT_LT(std::sqrt(error / norm), 2e-3) << "parameter " << t << " of " << GetParam() << " layers";
  }
}

TEST_P(HeadPassLayers, AccumulatingTwiceIsTwiceTheGradient) {
  Problem problem;
  const MedusaHead head = random_head(GetParam());
  HeadPass pass({64, kHidden, kVocabulary, GetParam(), DType::f32}, {});
  std::vector<Tensor> weight, bias;
  HeadGradients views;
  for (int l = 0; l < GetParam(); ++l) {
    weight.emplace_back(DType::f32, Shape{kHidden, kHidden});
    bias.emplace_back(DType::f32, Shape{kHidden});
  }
  for (int l = 0; l < GetParam(); ++l) {
    views.weight.push_back(weight[static_cast<size_t>(l)].view());
    views.bias.push_back(bias[static_cast<size_t>(l)].view());
  }
  Tensor linear(DType::f32, {kVocabulary, kHidden});
  views.linear = linear.view();
  const auto run = [&](Write write) {
    problem.loss(pass, head);
    pass.backward(head, problem.labels.view(), problem.scale.view(), views, write, problem.stream);
  };
  run(Write::overwrite);
  const Tensor once = linear.to({}), once_bias = bias[0].to({}), once_weight = weight[0].to({});
  run(Write::accumulate);
  for (int64_t i = 0; i < linear.elements(); ++i) {
    ASSERT_NEAR(linear.as<float>()[i], 2.0f * once.as<float>()[i], 1e-6f);
  }
  for (int64_t i = 0; i < kHidden; ++i) {
    ASSERT_NEAR(bias[0].as<float>()[i], 2.0f * once_bias.as<float>()[i], 1e-6f);
    ASSERT_NEAR(weight[0].as<float>()[i], 2.0f * once_weight.as<float>()[i], 1e-6f);
  }
}

INSTANTIATE_TEST_SUITE_P(L, HeadPassLayers, ::testing::Values(1, 2, 3));

// Heads start as lm_head behind exact identities: the same logits, hence the same loss to the bit.
TEST(MedusaHeads, StartAsTheLmHeadExactly) {
  Problem problem;
  const WeightMatrix lm_head = lm_head_of(kVocabulary, kHidden);
  for (const int layers : {1, 2}) {
    MedusaHeads heads = MedusaHeads::initialise({3, layers}, lm_head, DType::f32, problem.stream);
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
  MedusaHeads heads = MedusaHeads::initialise({2, 2}, lm_head_of(8, 4), DType::bf16, stream);
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

TEST(HeadPass, TellsItsWorkspace) {
  // x: 3, du: 1 of bf16; u: 2, dy: 1 of f32; logits 64 x 128 of bf16; four columns of numbers
  EXPECT_EQ(HeadPass::workspace_bytes({64, 16, 96, 2, DType::bf16}),
            64 * 16 * (4 * 2 + 3 * 4) + 64 * 128 * 2 + 4 * 64 * 4);
}

}  // namespace
}  // namespace gorgon
