#pragma once

#include <string>
#include <vector>

#include "optim/adamw.h"
#include "optim/options.h"

namespace gorgon {

// AdamW over tensors or shards of them, with the states it keeps for them: eight bits for logical tensors of
// at least kMinEightBitElements elements when options.eight_bit is set, f32 otherwise. adamw (32 bits)
// follows PyTorch, adamw_8bit follows bitsandbytes, its small tensors too. options.f32_master_weights keeps
// an f32 copy of bf16 parameters, taken when the optimizer is made.
class Optimizer {
 public:
  // Views of the groups must outlive it.
  Optimizer(const OptimizerOptions& options, uint64_t seed, std::vector<ParamGroup> groups,
            const Stream& stream);

  void step(const StepScalars& scalars, const Stream& stream);
  void step(const StepScalars* scalars, const Stream& stream);  // in the stream's device memory

  // States of group i: "momentum", "variance", "momentum_absmax", "variance_absmax", "master", those that
  // exist, also where a shard holds nothing of them.
  struct NamedState {
    std::string name;
    View view;
    int64_t elements_each = 1;  // elements of the parameter that one of its values is for
  };
  std::vector<NamedState> states(size_t i);

  int64_t bytes() const;  // of all states

 private:
  struct State {
    Tensor momentum, variance, momentum_absmax, variance_absmax, master;
    bool eight_bit = false, has_master = false;
  };
  static AdamWState views(State& state);

  AdamWOptions options_;
  std::vector<ParamGroup> groups_;
  std::vector<State> states_;
  Tensor scalars_;  // StepScalars, on the device
};

}  // namespace gorgon
