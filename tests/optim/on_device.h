#pragma once

#include "optim/adamw.h"
#include "tests/kernels/on_device.h"

namespace gorgon {

// adamw_step() with everything in host memory, wherever the stream's device is.
inline void adamw_on_device(const ParamGroup& group, const AdamWState& state, const AdamWOptions& options,
                            const StepScalars* scalars, const Stream& stream) {
  DeviceCopies copies(stream);
  ParamGroup on = group;
  on.param = copies(group.param);
  on.grad = copies(group.grad);
  const AdamWState on_state{copies(state.momentum), copies(state.variance), copies(state.momentum_absmax),
                            copies(state.variance_absmax), copies(state.master)};
  Tensor device_scalars(DType::u8, {sizeof(StepScalars)}, stream.device());
  copy_bytes(stream.device(), device_scalars.data(), {}, scalars, sizeof(StepScalars));
  adamw_step(on, on_state, options, device_scalars.as<StepScalars>(), stream);
  copies.fetch();
}

}  // namespace gorgon
