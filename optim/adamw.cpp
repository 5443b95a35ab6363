#include "optim/adamw.h"

#include "kernels/error.h"

namespace gorgon {

namespace {

void check_state(const AdamWState& state, int64_t n, const AdamWOptions& options) {
  const bool eight_bit = state.momentum.type == DType::u8;
  const DType type = eight_bit ? DType::u8 : DType::f32;
  for (const View& v : {state.momentum, state.variance}) {
    require(v.type == type && v.elements() == n && v.contiguous(), "adamw_step", "states");
  }
  if (eight_bit) {
    require(options.form == AdamWForm::bitsandbytes, "adamw_step", "eight-bit states in PyTorch's form");
    for (const View& v : {state.momentum_absmax, state.variance_absmax}) {
      require(v.type == DType::f32 && v.elements() == (n + kStateBlock - 1) / kStateBlock, "adamw_step",
              "absmax of the blocks");
    }
  }
  if (state.master.data != nullptr) {
    require(state.master.type == DType::f32 && state.master.elements() == n, "adamw_step", "master weights");
  }
}

}  // namespace

void adamw_step(const ParamGroup& group, const AdamWState& state, const AdamWOptions& options,
                const StepScalars* scalars, const Stream& stream) {
  const int64_t n = group.param.elements();
  require(group.param.type == DType::f32 || group.param.type == DType::bf16, "adamw_step",
          "parameter's type");
  require(group.grad.type == group.param.type && group.grad.elements() == n, "adamw_step", "gradient");
  require(group.param.contiguous() && group.grad.contiguous(), "adamw_step", "row strides");
  require(group.global_offset % kStateBlock == 0, "adamw_step", "a shard does not start where a block does");
  check_state(state, n, options);
  if (n == 0) return;
  (stream.device().kind == DeviceKind::cuda ? cuda::adamw_step : cpu::adamw_step)(group, state, options,
                                                                                  scalars, stream);
}

}  // namespace gorgon
