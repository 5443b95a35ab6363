#include "optim/adamw.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "kernels/code_map.h"
#include "kernels/error.h"
#include "optim/stochastic_rounding.h"
#include "tests/optim/on_device.h"

namespace gorgon {
namespace {

using Floats = std::vector<float>;

Floats normal(size_t n, unsigned seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw(0.0f, scale);
  Floats values(n);
  for (float& v : values) v = draw(random);
  return values;
}

// One parameter with its gradient and states.
struct Parameter {
  Tensor param, grad, momentum, variance, momentum_absmax, variance_absmax, master;
  ParamGroup group;

  Parameter(const Floats& values, DType type, bool eight_bit, bool with_master = false) {
    const auto n = static_cast<int64_t>(values.size()), blocks = (n + kStateBlock - 1) / kStateBlock;
    param = Tensor(type, {n});
    grad = Tensor::zeros(type, {n});
    set(param, values);
    const DType state = eight_bit ? DType::u8 : DType::f32;
    momentum = Tensor::zeros(state, {n});
    variance = Tensor::zeros(state, {n});
    if (eight_bit) {
      std::memset(momentum.data(), signed_code_map().zero, static_cast<size_t>(n));
      momentum_absmax = Tensor::zeros(DType::f32, {blocks});
      variance_absmax = Tensor::zeros(DType::f32, {blocks});
    }
    if (with_master) master = Tensor::of(values, {n});
    group.param = param.view();
    group.grad = grad.view();
  }
  static void set(Tensor& tensor, const Floats& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (tensor.type() == DType::f32) {
        tensor.as<float>()[i] = values[i];
      } else {
        tensor.as<bf16>()[i] = bf16(values[i]);
      }
    }
  }
  AdamWState state() {
    AdamWState s;
    s.momentum = momentum.view();
    s.variance = variance.view();
    if (!momentum_absmax.empty()) s.momentum_absmax = momentum_absmax.view();
    if (!variance_absmax.empty()) s.variance_absmax = variance_absmax.view();
    if (!master.empty()) s.master = master.view();
    return s;
  }
  float value(size_t i) const {
    return param.type() == DType::f32 ? param.as<float>()[i] : static_cast<float>(param.as<bf16>()[i]);
  }
  float gradient(size_t i) const {
    return grad.type() == DType::f32 ? grad.as<float>()[i] : static_cast<float>(grad.as<bf16>()[i]);
  }
};

// Scalar eight-bit AdamW, operation by operation after adamw.h: the reference of every bit.
struct Reference {
  Floats param;
  std::vector<uint8_t> m_codes, v_codes;
  Floats m_absmax, v_absmax;

  void step(const Parameter& p, const StepScalars& s, const AdamWOptions& o) {
    const ParamGroup& group = p.group;
    const float lr = s.lr * group.lr_multiplier;
    const double c1 = 1.0 - std::pow(static_cast<double>(o.beta1), s.step);
    const double c2 = std::sqrt(1.0 - std::pow(static_cast<double>(o.beta2), s.step));
    const auto step_size = static_cast<float>(static_cast<double>(lr) * c2 / c1);
    const auto epsilon = static_cast<float>(static_cast<double>(o.epsilon) * c2);
    for (size_t begin = 0; begin < param.size(); begin += 256) {
      const size_t end = std::min(param.size(), begin + 256), block = begin / 256;
      Floats m(end - begin), v(end - begin);
      float m_max = 0.0f, v_max = 0.0f;
      for (size_t i = begin; i < end; ++i) {
        const float g = p.gradient(i) * s.grad_scale;
        const float m0 = signed_code_map().values[m_codes[i]] * m_absmax[block];
        const float v0 = unsigned_code_map().values[v_codes[i]] * v_absmax[block];
        const float v1 = o.beta2 * v0 + (1.0f - o.beta2) * (g * g);
        const float m1 = o.beta1 * m0 + (1.0f - o.beta1) * g;
        float x = param[i] - step_size * (m1 / (std::sqrt(v1) + epsilon));
        x *= 1.0f - lr * group.weight_decay;
        if (p.param.type() == DType::bf16) {
          const auto offset = static_cast<uint64_t>(group.global_offset) + i;
          x = static_cast<float>(round_stochastically(
              x, rounding_bits(o.seed, group.id, static_cast<uint32_t>(s.step), offset)));
        }
        param[i] = x;
        m[i - begin] = m1;
        v[i - begin] = v1;
        m_max = std::max(m_max, std::abs(m1));
        v_max = std::max(v_max, v1);
      }
      for (size_t i = begin; i < end; ++i) {
        m_codes[i] = m_max > 0.0f ? momentum_code(m[i - begin], m_max) : uint8_t{127};
        v_codes[i] = v_max > 0.0f ? variance_code(v[i - begin], v_max) : uint8_t{0};
      }
      m_absmax[block] = m_max;
      v_absmax[block] = v_max;
    }
  }
};

// Gradients whose sizes span eight decades, with zeros among them and one block without any.
Floats wild_gradient(size_t n, unsigned seed) {
  Floats g = normal(n, seed, 1.0f);
  for (size_t i = 0; i < n; ++i) {
    g[i] *= std::pow(10.0f, -static_cast<float>((i * 7 + seed) % 9));
    if (i % 31 == 0) g[i] = 0.0f;
    if (i / 256 == 3) g[i] = 0.0f;
    if (i / 256 == 5) g[i] *= 1e-17f;  // absmax of the variance is subnormal
  }
  return g;
}

class EightBit : public ::testing::TestWithParam<DType> {};

void expect_bits_of_the_reference(DType type) {
  const size_t n = 20 * 256 + 77;
  const Floats start = normal(n, 1, 0.02f);
  for (const int threads : {1, 3}) {
    const Stream stream(test_device(), threads);
    Parameter p(start, type, true);
    p.group.id = 12;
    p.group.global_offset = 512;
    p.group.lr_multiplier = 2.0f;
    p.group.weight_decay = 0.1f;
    AdamWOptions options;
    options.seed = 0x123456789abcdefull;
    Reference r;
    for (size_t i = 0; i < n; ++i) r.param.push_back(p.value(i));
    r.m_codes.assign(n, 127);
    r.v_codes.assign(n, 0);
    r.m_absmax.assign(21, 0.0f);
    r.v_absmax.assign(21, 0.0f);
    for (int t = 1; t <= 6; ++t) {
      Parameter::set(p.grad, wild_gradient(n, static_cast<unsigned>(t)));
      const StepScalars scalars{1e-3f, t % 2 == 0 ? 0.3f : 1.0f, t, 0};
      r.step(p, scalars, options);
      adamw_on_device(p.group, p.state(), options, &scalars, stream);
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(p.momentum.as<uint8_t>()[i], r.m_codes[i]) << "step " << t << " element " << i;
        ASSERT_EQ(p.variance.as<uint8_t>()[i], r.v_codes[i]) << "step " << t << " element " << i;
        ASSERT_EQ(p.value(i), r.param[i]) << "step " << t << " element " << i;
      }
      for (size_t b = 0; b < 21; ++b) {
        ASSERT_EQ(p.momentum_absmax.as<float>()[b], r.m_absmax[b]);
        ASSERT_EQ(p.variance_absmax.as<float>()[b], r.v_absmax[b]);
      }
    }
  }
}

// On every instruction set that the chip has.
TEST_P(EightBit, HasTheBitsOfTheReference) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(hwy::TargetName(target));
    expect_bits_of_the_reference(GetParam());
  }
  hwy::SetSupportedTargetsForTest(0);
}

INSTANTIATE_TEST_SUITE_P(Types, EightBit, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& p) { return std::string(name(p.param)); });

// The arithmetic that replaces the search, at every threshold and its neighbours and all over the range.
// One step from zero states with beta1 = beta2 = 0 hands the codes any m = g and v = g^2 that we like.
void expect_nearest_codes_everywhere() {
  const Stream stream(test_device(), 2);
  AdamWOptions options;
  options.beta1 = options.beta2 = 0.0f;
  std::mt19937 random(5);
  std::uniform_real_distribution<float> uniform(0.0f, 1.0f);
  const auto check = [&](const Floats& xs) {  // xs in [0, 1]
    Floats g;
    for (const float x : xs) {
      if (g.size() % 256 == 0) g.push_back(1.0f);  // absmax of every block
      g.push_back(g.size() % 2 == 0 ? x : -x);
    }
    Parameter p(Floats(g.size(), 0.0f), DType::f32, true);
    Parameter::set(p.grad, g);
    const StepScalars scalars{0.0f, 1.0f, 1, 0};
    adamw_on_device(p.group, p.state(), options, &scalars, stream);
    for (size_t i = 0; i < g.size(); ++i) {
      const float m_max = p.momentum_absmax.as<float>()[i / 256],
                  v_max = p.variance_absmax.as<float>()[i / 256];
      ASSERT_EQ(p.momentum.as<uint8_t>()[i], momentum_code(g[i], m_max)) << g[i];
      ASSERT_EQ(p.variance.as<uint8_t>()[i], variance_code(g[i] * g[i], v_max)) << g[i];
    }
  };
  Floats xs = {0.0f, 1.0f, 1e-38f};
  for (const CodeMap* map : {&signed_code_map(), &unsigned_code_map()}) {
    for (const float threshold : map->thresholds) {
      const float x = map->zero == 0 ? std::sqrt(threshold) : std::abs(threshold);
      for (int32_t ulp = -20; ulp <= 20; ++ulp) {
        xs.push_back(std::bit_cast<float>(std::bit_cast<int32_t>(x) + ulp));
      }
    }
  }
  check(xs);
  for (int round = 0; round < 20; ++round) {
    Floats many(50000);
    for (float& x : many) x = std::pow(10.0f, -12.0f * uniform(random)) * uniform(random);
    check(many);
  }
}

TEST(EightBitCodes, AreTheNearestEverywhere) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(hwy::TargetName(target));
    expect_nearest_codes_everywhere();
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(AdamW, ShardsHaveTheBitsOfTheWhole) {
  const Stream stream(test_device(), 2);
  const Floats start = normal(4096, 1, 0.02f), gradient = normal(4096, 2, 0.1f);
  for (const bool eight_bit : {true, false}) {
    Parameter whole(start, DType::bf16, eight_bit);
    Parameter::set(whole.grad, gradient);
    const StepScalars scalars{1e-3f, 1.0f, 1, 0};
    adamw_on_device(whole.group, whole.state(), {}, &scalars, stream);
    for (const size_t begin : {0, 256, 2560}) {
      const auto from = static_cast<int64_t>(begin);
      Parameter part(Floats(start.begin() + from, start.end()), DType::bf16, eight_bit);
      Parameter::set(part.grad, Floats(gradient.begin() + from, gradient.end()));
      part.group.global_offset = from;
      adamw_on_device(part.group, part.state(), {}, &scalars, stream);
      for (size_t i = begin; i < 4096; ++i) ASSERT_EQ(part.value(i - begin), whole.value(i)) << i;
    }
  }
}

TEST(AdamW, SkipsTheStepAndTouchesNothing) {
  const Stream stream(test_device(), 1);
  Parameter p(normal(512, 1, 1.0f), DType::bf16, true);
  Parameter::set(p.grad, Floats(512, std::nanf("")));
  const Tensor before = p.param.to({}), codes = p.momentum.to({});
  const StepScalars scalars{1e-3f, 1.0f, 1, 1};
  adamw_on_device(p.group, p.state(), {}, &scalars, stream);
  EXPECT_EQ(std::memcmp(before.data(), p.param.data(), 1024), 0);
  EXPECT_EQ(std::memcmp(codes.data(), p.momentum.data(), 512), 0);
  EXPECT_EQ(p.momentum_absmax.as<float>()[0], 0.0f);
}

// A weight of 0.02 and updates of 1e-5: an ulp of bf16 there is 1.2e-4, so rounding to nearest never moves
// it.
TEST(AdamW, StochasticRoundingMovesWhereNearestStalls) {
  const Stream stream(test_device(), 2);
  const size_t n = 1 << 14;
  constexpr int kSteps = 40;
  Parameter stochastic(Floats(n, 0.02f), DType::bf16, false),
      master(Floats(n, 0.02f), DType::bf16, false, true);
  Floats nearest(n, static_cast<float>(bf16(0.02f)));
  const float start = nearest[0];
  std::fill_n(master.master.as<float>(), n, start);
  for (int t = 1; t <= kSteps; ++t) {
    for (Parameter* p : {&stochastic, &master}) {
      Parameter::set(p->grad, Floats(n, 1.0f));
      const StepScalars scalars{1e-5f, 1.0f, t, 0};
      adamw_on_device(p->group, p->state(), {}, &scalars, stream);
    }
    for (float& x : nearest) x = static_cast<float>(bf16(x - 1e-5f));  // a constant gradient: m / sqrt(v) = 1
  }
  EXPECT_EQ(nearest[0], start) << "rounding to nearest no longer stalls: this test has lost its sense";
  double mean = 0;
  for (size_t i = 0; i < n; ++i) mean += static_cast<double>(stochastic.value(i)) / static_cast<double>(n);
  // 40 roundings with a deviation of at most half an ulp (6e-5) each, over 2^14 weights: 3e-6; five of them
  const double moved = static_cast<double>(start) - mean;
  EXPECT_NEAR(moved, kSteps * 1e-5, 1.5e-5);
  EXPECT_NEAR(static_cast<double>(start - master.master.as<float>()[0]), kSteps * 1e-5, 1e-7);
  EXPECT_EQ(master.param.as<bf16>()[0], bf16(master.master.as<float>()[0]));
}

TEST(AdamW, RefusesShardsThatCutABlock) {
  const Stream stream(test_device(), 1);
  Parameter p(Floats(512, 0.0f), DType::f32, true);
  p.group.global_offset = 100;
  const StepScalars scalars{};
  EXPECT_THROW(adamw_on_device(p.group, p.state(), {}, &scalars, stream), Error);
}

}  // namespace
}  // namespace gorgon
