#include <cstring>

#include <benchmark/benchmark.h>

#include "bench/machine_peak.h"
#include "bench/numbers.h"
#include "kernels/code_map.h"
#include "optim/adamw.h"
#include "optim/gradient_clipping.h"

namespace gorgon::bench {
namespace {

constexpr int64_t kLinear = 49152 * 576;  // elements of one head's Linear on SmolLM2

// Every byte that a step reads or writes, once.
int64_t bytes_of_step(DType type, bool eight_bit) {
  const int64_t parameter = bytes_of(type, 1), state = eight_bit ? 2 : 8;
  return kLinear * (3 * parameter + 2 * state) + (eight_bit ? kLinear / kStateBlock * 16 : 0);
}

void adamw(benchmark::State& state, DType type, bool eight_bit) {
  const Stream stream;
  Tensor param = numbers(type, {kLinear}, 0.04f, 1);
  const Tensor grad = numbers(type, {kLinear}, 1e-4f, 2);
  const DType states = eight_bit ? DType::u8 : DType::f32;
  Tensor momentum = Tensor::zeros(states, {kLinear}), variance = Tensor::zeros(states, {kLinear});
  Tensor momentum_absmax = Tensor::zeros(DType::f32, {kLinear / kStateBlock});
  Tensor variance_absmax = Tensor::zeros(DType::f32, {kLinear / kStateBlock});
  AdamWState views{momentum.view(), variance.view(), {}, {}, {}};
  AdamWOptions options;
  if (eight_bit) {
    std::memset(momentum.data(), signed_code_map().zero, static_cast<size_t>(kLinear));
    views.momentum_absmax = momentum_absmax.view();
    views.variance_absmax = variance_absmax.view();
  } else {
    options.form = AdamWForm::pytorch;
  }
  ParamGroup group;
  group.param = param.view();
  group.grad = grad.view();
  StepScalars scalars{1e-3f, 1.0f, 0, 0};
  for (auto _ : state) {
    ++scalars.step;
    adamw_step(group, views, options, &scalars, stream);
  }
  report_bytes(state, stream, static_cast<double>(bytes_of_step(type, eight_bit)));
}

void gradient_norm(benchmark::State& state, DType type) {
  const Stream stream;
  const Tensor grad = numbers(type, {kLinear}, 1e-4f);
  Tensor sum(DType::f32, {1});
  for (auto _ : state) square_sum(grad.view(), sum.view(), stream);
  report_bytes(state, stream, static_cast<double>(grad.bytes()));
}

BENCHMARK_CAPTURE(adamw, 8bit_bf16, DType::bf16, true)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(adamw, 8bit_f32, DType::f32, true)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(adamw, 32bit_bf16, DType::bf16, false)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(adamw, 32bit_f32, DType::f32, false)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gradient_norm, bf16, DType::bf16)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gradient_norm, f32, DType::f32)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gorgon::bench
