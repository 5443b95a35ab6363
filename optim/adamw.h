#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace gorgon {

// One parameter, or one shard of it.
struct ParamGroup {
  uint32_t id = 0;               // of the parameter, a part of the counter of stochastic rounding
  int64_t global_offset = 0;     // of the shard's first element in the logical tensor; a multiple of 256
  int64_t logical_elements = 0;  // of the logical tensor, where this is a shard of it; 0 = n
  View param;                    // T[n], T = f32 or bf16, contiguous
  ConstView grad;                // T[n]
  float lr_multiplier = 1.0f;
  float weight_decay = 0.0f;
};

// What changes from step to step; lives in the stream's device memory, so that a step can be recorded once
// and a non-finite gradient skips the very step it came from.
struct StepScalars {
  float lr = 0.0f;
  float grad_scale = 1.0f;  // gradients are multiplied by it first (clipping)
  int32_t step = 1;         // t of the bias corrections, from 1
  int32_t skip = 0;         // not 0: parameters and states stay untouched
};

// Blocks of consecutive elements of the logical tensor that share an absmax.
constexpr int64_t kStateBlock = 256;
// Tensors with fewer elements keep their states in f32.
constexpr int64_t kMinEightBitElements = 4096;

// States of one ParamGroup; zeros at the start (eight bits: codes of 0, absmax 0).
struct AdamWState {
  View momentum;         // u8[n] codes of the signed map, or f32[n]
  View variance;         // u8[n] codes of the unsigned map, or f32[n]
  View momentum_absmax;  // f32[ceil(n / 256)]; no data with f32 states
  View variance_absmax;  // the same
  View master;           // f32[n], or no data: param itself is updated
};

// bitsandbytes: p -= lr c2/c1 m / (sqrt(v) + c2 eps), then p *= 1 - lr wd   (0.44 and later; 8-bit states)
// pytorch:      p *= 1 - lr wd, then p -= lr/c1 m / (sqrt(v)/c2 + eps)       (torch.optim.AdamW)
// with c1 = 1 - beta1^t, c2 = sqrt(1 - beta2^t), lr = scalars.lr * lr_multiplier.
enum class AdamWForm : uint8_t { bitsandbytes, pytorch };

struct AdamWOptions {
  AdamWForm form = AdamWForm::bitsandbytes;
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
  uint64_t seed = 0;  // of stochastic rounding
};

// One step of one group. bf16 parameters without a master are rounded stochastically
// (stochastic_rounding.h), with one to nearest. All arithmetic in f32 without fused multiply-add: the bits
// are the same on every instruction set, for any number of threads and any cut into shards. Gradients must be
// finite (skip is for those that are not). Eight-bit states exist in form bitsandbytes only.
void adamw_step(const ParamGroup& group, const AdamWState& state, const AdamWOptions& options,
                const StepScalars* scalars, const Stream& stream);

namespace cpu {
void adamw_step(const ParamGroup& group, const AdamWState& state, const AdamWOptions& options,
                const StepScalars* scalars, const Stream& stream);
}
namespace cuda {
void adamw_step(const ParamGroup& group, const AdamWState& state, const AdamWOptions& options,
                const StepScalars* scalars, const Stream& stream);
}

}  // namespace gorgon
