#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/fp8_linear.h"
#include "tests/emulation/moved_model.h"
#include "tests/kernels/on_device.h"
#include "tests/model/tiny_model.h"
#include "trainer/head_trainer.h"
#include "trainer/state_source.h"

// The whole path of fp8 where the device has it: rows rounded by a kernel, cuBLASLt's product, its scales.
namespace gorgon {
namespace {

// The 256 codes in the order of their values, by their definition.
double value_of_code(int code) {
  const int exponent = code >> 3 & 15, fraction = code & 7;
  const double magnitude = exponent == 0 ? fraction / 8.0 * std::ldexp(1.0, -6)
                                         : (1 + fraction / 8.0) * std::ldexp(1.0, exponent - 7);
  return code < 128 ? magnitude : -magnitude;
}

TEST(E4m3, CodesAreThoseOfTheDefinition) {
  for (int code = 0; code < 256; ++code) {
    const float value = from_e4m3(static_cast<uint8_t>(code));
    if ((code & 127) == 127) {
      EXPECT_TRUE(std::isnan(value));
    } else {
      EXPECT_EQ(static_cast<double>(value), value_of_code(code)) << code;
      EXPECT_EQ(to_e4m3(value), code);
    }
  }
}

TEST(E4m3, RoundsToTheNearestAndHalfwayToTheEven) {
  for (int code = 0; code < 126; ++code) {
    const double low = value_of_code(code), high = value_of_code(code + 1), middle = (low + high) / 2;
    const int even = code % 2 == 0 ? code : code + 1;
    EXPECT_EQ(to_e4m3(static_cast<float>(middle)), even);
    EXPECT_EQ(to_e4m3(std::nextafter(static_cast<float>(middle), 0.0f)), code);
    EXPECT_EQ(to_e4m3(std::nextafter(static_cast<float>(middle), 1e9f)), code + 1);
    EXPECT_EQ(to_e4m3(-static_cast<float>(middle)), even + 128);
  }
  EXPECT_EQ(to_e4m3(1e30f), 126);
  EXPECT_EQ(to_e4m3(-INFINITY), 254);
  EXPECT_EQ(to_e4m3(NAN) & 127, 127);
}

Tensor random_bf16(int64_t rows, int64_t columns, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Tensor t(DType::bf16, {rows, columns});
  for (int64_t i = 0; i < t.elements(); ++i) {
    const bool outlier = i % 97 == 0;
    t.as<bf16>()[i] =
        bf16(normal(random) * (outlier ? 30.0f : 1.0f) * static_cast<float>(1 + i / columns % 5));
  }
  return t;
}

// x in fp8 as the kernel has to make it, and the sums of the codes' products in f64.
std::vector<double> reference(const Tensor& x, const WeightMatrix& weight) {
  const Stream host({}, 1);
  const WeightMatrix rows = to_fp8(x.view(), host);
  std::vector<double> y;
  const auto value = [](const WeightMatrix& m, int64_t r, int64_t c) {
    return static_cast<double>(from_e4m3(m.storage->as<uint8_t>()[r * m.columns + c]));
  };
  for (int64_t i = 0; i < rows.rows; ++i) {
    for (int64_t j = 0; j < weight.rows; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < rows.columns; ++k) sum += value(rows, i, k) * value(weight, j, k);
      y.push_back(sum * static_cast<double>(rows.scales->as<float>()[i]) *
                  static_cast<double>(weight.scales->as<float>()[j]));
    }
  }
  return y;
}

WeightMatrix on_gpu(const WeightMatrix& weight) {
  return moved(weight, test_device());
}

bool is_without_fp8() {
  return !has_fp8(test_device());
}

struct Case {
  int64_t rows, columns, outputs;
};
class Fp8Linear : public testing::TestWithParam<Case> {};

double normwise(const std::vector<double>& got, const std::vector<double>& wanted) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    error += (got[i] - wanted[i]) * (got[i] - wanted[i]);
    norm += wanted[i] * wanted[i];
  }
  return std::sqrt(error / norm);
}

std::vector<double> doubles(const Tensor& t) {
  std::vector<double> values;
  for (int64_t i = 0; i < t.elements(); ++i) {
    values.push_back(
        static_cast<double>(t.type() == DType::f32 ? t.as<float>()[i] : static_cast<float>(t.as<bf16>()[i])));
  }
  return values;
}

// Against the same codes: the product is rounded to bf16 once or twice, 2^-9 each at most. Against the
// product of the numbers before they were rounded: an operand is off by 2^-4 of the power of two below it at
// most, 2^-4 / sqrt(3) rms; of both, where all lie just above a power of two, 5.1 %.
TEST_P(Fp8Linear, IsTheProductOfRoundedOperands) {
  if (is_without_fp8()) return;
  const auto& [rows, columns, outputs] = GetParam();
  std::mt19937 random(3);
  const Stream host({}, 1), gpu(test_device(), 1);
  const Tensor x = random_bf16(rows, columns, random), w = random_bf16(outputs, columns, random);
  const WeightMatrix weight = to_fp8(w.view(), host);
  const std::vector<double> expected = reference(x, weight);
  Tensor exact(DType::f32, {rows, outputs});
  gemm(x.view(), w.view(), exact.view(), {.transpose_b = true}, host);
  const Tensor x_gpu = x.to(test_device());
  for (const DType type : {DType::bf16, DType::f32}) {
    Tensor y(type, {rows, outputs}, test_device());
    linear(x_gpu.view(), on_gpu(weight), y.view(), Write::overwrite, gpu);
    const std::vector<double> got = doubles(y.to({}));
    EXPECT_LT(normwise(got, expected), 4e-3);
    EXPECT_LT(normwise(got, doubles(exact)), 5.2e-2);
  }
}

TEST_P(Fp8Linear, AddsToWhatIsThere) {
  if (is_without_fp8()) return;
  const auto& [rows, columns, outputs] = GetParam();
  std::mt19937 random(4);
  const Stream host({}, 1), gpu(test_device(), 1);
  const Tensor x = random_bf16(rows, columns, random).to(test_device());
  const WeightMatrix weight = on_gpu(to_fp8(random_bf16(outputs, columns, random).view(), host));
  Tensor once(DType::f32, {rows, outputs}, test_device()),
      twice = Tensor::zeros(DType::f32, {rows, outputs}, test_device());
  linear(x.view(), weight, once.view(), Write::overwrite, gpu);
  for (int i = 0; i < 2; ++i) linear(x.view(), weight, twice.view(), Write::accumulate, gpu);
  const std::vector<double> one = doubles(once.to({})), two = doubles(twice.to({}));
  for (size_t i = 0; i < one.size(); ++i) EXPECT_EQ(two[i], 2 * one[i]);
}

// A row's scale is its own: the bits of the others do not matter.
TEST_P(Fp8Linear, ARowDependsOnItselfAlone) {
  if (is_without_fp8()) return;
  const auto& [rows, columns, outputs] = GetParam();
  std::mt19937 random(5);
  const Stream host({}, 1), gpu(test_device(), 1);
  const Tensor x = random_bf16(rows, columns, random).to(test_device());
  const WeightMatrix weight = on_gpu(to_fp8(random_bf16(outputs, columns, random).view(), host));
  Tensor all(DType::bf16, {rows, outputs}, test_device()), last(DType::bf16, {1, outputs}, test_device());
  linear(x.view(), weight, all.view(), Write::overwrite, gpu);
  linear(x.view().rows(rows - 1, rows), weight, last.view(), Write::overwrite, gpu);
  const std::vector<double> a = doubles(all.to({})), b = doubles(last.to({}));
  for (int64_t j = 0; j < outputs; ++j) {
    EXPECT_EQ(a[static_cast<size_t>((rows - 1) * outputs + j)], b[static_cast<size_t>(j)]);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Fp8Linear,
                         testing::Values(Case{1, 16, 16}, Case{7, 48, 32}, Case{33, 512, 48},
                                         Case{5, 1040, 16}));

TEST(Fp8Rows, ZerosAndNumbersThatAreNotFinite) {
  if (is_without_fp8()) return;
  const Stream gpu(test_device(), 1);
  Tensor x(DType::bf16, {4, 16});
  for (int64_t i = 0; i < x.elements(); ++i) x.as<bf16>()[i] = bf16(i < 16 ? 0.0f : 1.0f);
  x.as<bf16>()[20] = bf16(NAN);
  x.as<bf16>()[40] = bf16(INFINITY);
  const Tensor on_device = x.to(test_device());
  Tensor codes(DType::e4m3, {4, 16}, test_device()), scales(DType::f32, {4}, test_device());
  cuda::quantise_rows(on_device.view(), codes.view(), scales.view(), gpu);
  const Tensor got = codes.to({}), scale = scales.to({});
  for (int i = 0; i < 16; ++i) EXPECT_EQ(got.as<uint8_t>()[i], 0);
  EXPECT_EQ(scale.as<float>()[0], 0.0f);
  EXPECT_TRUE(std::isnan(scale.as<float>()[1]));
  EXPECT_EQ(got.as<uint8_t>()[40] & 127, 127) << "infinity times nothing";
  EXPECT_EQ(got.as<uint8_t>()[63], 126);
}

// Rows of the kernel, bit for bit those of the host: every bf16 from 2^-20 to 448 beside 448, whose scale
// is 1.
TEST(Fp8Rows, AreThoseOfTheHost) {
  if (is_without_fp8()) return;
  const Stream gpu(test_device(), 1), host({}, 1);
  std::vector<bf16> values;
  for (uint32_t bits = 0x3580; bits <= 0x43e0; ++bits) {
    bf16 value;
    value.bits = static_cast<uint16_t>(bits | (bits % 3 == 0 ? 0x8000u : 0u));
    values.push_back(value);
  }
  while (values.size() % 8 != 0) values.emplace_back(448.0f);
  const Tensor x = Tensor::of(values, {1, std::ssize(values)});
  const WeightMatrix expected = to_fp8(x.view(), host);
  ASSERT_EQ(expected.scales->as<float>()[0], 1.0f);
  for (const int64_t columns : {x.elements(), x.elements() - 3}) {  // packs of 8, and one by one
    const Tensor on_device = x.to(test_device());
    Tensor codes(DType::e4m3, {1, columns}, test_device()), scales(DType::f32, {1}, test_device());
    cuda::quantise_rows(on_device.view().columns(0, columns), codes.view(), scales.view(), gpu);
    const Tensor got = codes.to({});
    for (int64_t i = 0; i < columns; ++i) {
      ASSERT_EQ(got.as<uint8_t>()[i], expected.storage->as<uint8_t>()[i]) << i;
    }
  }
}

ModelWeights in_fp8(const ModelWeights& weights) {
  const Stream host({}, 1);
  ModelWeights to = moved(weights, {});
  for (LayerWeights& layer : to.layers) {
    for (WeightMatrix* m : {&layer.query_key_value, &layer.attention_output, &layer.gate_up, &layer.down}) {
      *m = to_fp8(m->view(), host);
    }
  }
  return to;
}

StepResult trained(const ModelWeights& weights, const Sequences& sequences, Tensor& states) {
  const Stream stream(test_device(), 1);
  const Backbone backbone(weights, DType::bf16);
  HeadTrainerOptions options;
  options.heads = {2, 1};
  options.lr_multiplier.assign(2, 1.0);
  options.max_steps = 3;
  HeadTrainer trainer(options, weights.lm_head, DType::bf16, stream);
  RepeatedWork repeated;
  StateRows rows;
  StepResult last;
  for (int64_t s = 1; s <= 3; ++s) {
    forward_state_rows(backbone, sequences, 2, 2, rows, stream, &repeated);
    last = trainer.step(rows, s);
  }
  states = rows.hidden.to({});
  return last;
}

// e4m3 rounds 32 times as coarsely as bf16, and weights, too, which are bf16 here from the start: beside f32
// the states are off by at most sqrt(2) 32 times as much as those in bf16. (These weights are random and
// large; a model that has learnt loses less.)
TEST(Fp8Backbone, StaysNearItsBf16) {
  if (is_without_fp8()) return;
  TinyModel model(8, 160);
  model.round_to_bf16();
  Sequences sequences;
  sequences.offsets.push_back(0);
  for (const int length : {40, 61}) {
    sequences.first_id.push_back(std::ssize(sequences.tokens));
    for (const int32_t token : model.prompt(length)) sequences.tokens.push_back(token);
    sequences.offsets.push_back(std::ssize(sequences.tokens));
  }
  sequences.labels = sequences.tokens;
  sequences.segments.assign(sequences.tokens.size(), 0);
  Tensor plain_states, fp8_states, again;
  const StepResult plain = trained(moved(model.weights(), test_device()), sequences, plain_states);
  const ModelWeights weights = moved(in_fp8(model.weights()), test_device());
  const StepResult fp8 = trained(weights, sequences, fp8_states);
  const Stream host({}, 1);
  const Backbone in_f32(model.weights(), DType::f32);
  const std::vector<double> exact = doubles(forward_state_rows(in_f32, sequences, 2, 2, host).hidden);
  const double of_fp8 = normwise(doubles(fp8_states), exact),
               of_bf16 = normwise(doubles(plain_states), exact);
  EXPECT_LT(of_fp8, 45 * of_bf16);
  EXPECT_GT(of_fp8, 8 * of_bf16) << "nothing was rounded: a test without sense";
  EXPECT_NEAR(fp8.loss, plain.loss, 0.01 * plain.loss);
  trained(weights, sequences, again);
  EXPECT_EQ(doubles(again), doubles(fp8_states)) << "another run, other bits";
}

}  // namespace
}  // namespace gorgon
