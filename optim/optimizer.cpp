#include "optim/optimizer.h"

#include "kernels/code_map.h"
#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/transfer.h"

namespace gorgon {

namespace {

constexpr Purpose kState{"an optimizer state", "lower medusa_num_heads, or set medusa_head_linear: lowrank"};

Tensor codes_of_zero(int64_t n, uint8_t code, Device device) {
  Tensor codes(DType::u8, {n}, device, kState);
  const std::vector<uint8_t> values(static_cast<size_t>(n), code);
  copy_bytes(device, codes.data(), {}, values.data(), codes.bytes());
  return codes;
}

}  // namespace

Optimizer::Optimizer(const OptimizerOptions& options, uint64_t seed, std::vector<ParamGroup> groups,
                     const Stream& stream)
    : options_{options.eight_bit ? AdamWForm::bitsandbytes : AdamWForm::pytorch, options.beta1, options.beta2,
               options.epsilon, seed},
      groups_(std::move(groups)),
      scalars_(DType::u8, {static_cast<int64_t>(sizeof(StepScalars))}, stream.device()) {
  const Device device = stream.device();
  for (const ParamGroup& group : groups_) {
    const int64_t n = group.param.elements();
    const int64_t logical = group.logical_elements > 0 ? group.logical_elements : n;
    State state;
    state.eight_bit = options.eight_bit && logical >= kMinEightBitElements;
    state.has_master = options.f32_master_weights && group.param.type == DType::bf16;
    if (state.eight_bit) {
      const int64_t blocks = (n + kStateBlock - 1) / kStateBlock;
      state.momentum = codes_of_zero(n, signed_code_map().zero, device);
      state.variance = codes_of_zero(n, unsigned_code_map().zero, device);
      state.momentum_absmax = Tensor::zeros(DType::f32, {blocks}, device, kState);
      state.variance_absmax = Tensor::zeros(DType::f32, {blocks}, device, kState);
    } else {
      state.momentum = Tensor::zeros(DType::f32, {n}, device, kState);
      state.variance = Tensor::zeros(DType::f32, {n}, device, kState);
    }
    if (state.has_master) {
      state.master = Tensor(DType::f32, {n}, device, kState);
      convert(group.param, state.master.view(), stream);
    }
    states_.push_back(std::move(state));
  }
}

AdamWState Optimizer::views(State& state) {
  AdamWState views;
  views.momentum = state.momentum.view();
  views.variance = state.variance.view();
  if (state.eight_bit) {
    views.momentum_absmax = state.momentum_absmax.view();
    views.variance_absmax = state.variance_absmax.view();
  }
  if (state.has_master) views.master = state.master.view();
  return views;
}

void Optimizer::step(const StepScalars& scalars, const Stream& stream) {
  upload(&scalars, scalars_.view(), stream);
  step(scalars_.as<StepScalars>(), stream);
}

void Optimizer::step(const StepScalars* scalars, const Stream& stream) {
  for (size_t i = 0; i < groups_.size(); ++i) {
    adamw_step(groups_[i], views(states_[i]), options_, scalars, stream);
  }
}

std::vector<Optimizer::NamedState> Optimizer::states(size_t i) {
  const State& state = states_.at(i);
  const AdamWState s = views(states_.at(i));
  std::vector<NamedState> named{{"momentum", s.momentum}, {"variance", s.variance}};
  if (state.eight_bit) {
    named.push_back({"momentum_absmax", s.momentum_absmax, kStateBlock});
    named.push_back({"variance_absmax", s.variance_absmax, kStateBlock});
  }
  if (state.has_master) named.push_back({"master", s.master});
  return named;
}

int64_t Optimizer::bytes() const {
  int64_t sum = 0;
  for (const State& s : states_) {
    for (const Tensor* t : {&s.momentum, &s.variance, &s.momentum_absmax, &s.variance_absmax, &s.master}) {
      sum += t->bytes();
    }
  }
  return sum;
}

}  // namespace gorgon
