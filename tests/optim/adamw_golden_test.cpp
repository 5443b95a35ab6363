#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "tests/optim/golden.h"
#include "tests/optim/on_device.h"

namespace gorgon {
namespace {

using Floats = std::vector<float>;

Tensor tensor_of(const Floats& values) {
  return Tensor::of(values, {static_cast<int64_t>(values.size())});
}

TEST(AdamW, AgreesWithPyTorch) {
  const auto golden = optimizer_golden()["adamw"];
  const Stream stream(test_device(), 1);
  Tensor param = tensor_of(golden["start"].get<Floats>());
  Tensor momentum = Tensor::zeros(DType::f32, param.shape()),
         variance = Tensor::zeros(DType::f32, param.shape());
  AdamWState state;
  state.momentum = momentum.view();
  state.variance = variance.view();
  AdamWOptions options;
  options.form = AdamWForm::pytorch;
  for (size_t s = 0; s < golden["steps"].size(); ++s) {
    const Tensor grad = tensor_of(golden["gradients"][s].get<Floats>());
    ParamGroup group;
    group.param = param.view();
    group.grad = grad.view();
    group.weight_decay = 0.1f;
    const StepScalars scalars{0.01f, 1.0f, static_cast<int32_t>(s) + 1, 0};
    adamw_on_device(group, state, options, &scalars, stream);
    const auto expected = golden["steps"][s];
    for (size_t i = 0; i < 12; ++i) {
      // a handful of f32 roundings a step, relative 6e-8 each
      EXPECT_NEAR(param.as<float>()[i], expected["param"][i].get<float>(), 5e-7f);
      const auto m = expected["momentum"][i].get<float>(), v = expected["variance"][i].get<float>();
      EXPECT_NEAR(momentum.as<float>()[i], m, 1e-6f * std::abs(m) + 1e-8f);
      EXPECT_NEAR(variance.as<float>()[i], v, 2e-5f * v);  // 1 - 0.999f is 1.3e-5 from 0.001
    }
  }
}

}  // namespace
}  // namespace gorgon
