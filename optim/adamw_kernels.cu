// One warp a block of 256 elements, eight neighbouring ones a lane.
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/philox.h"
#include "optim/adamw.h"
#include "optim/adamw_block.h"
#include "optim/code_map_device.h"
#include "optim/stochastic_rounding.h"

namespace gorgon::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr int kPerLane = static_cast<int>(kStateBlock) / kWarpSize;
constexpr int64_t kMostBlocks = 1024;  // code maps are built once a block

struct Arguments {
  AdamWForm form;
  float beta1, beta2, epsilon, lr_multiplier, weight_decay;
  uint64_t seed;
  uint32_t parameter;
  int64_t n, first_block;  // elements; blocks of the logical tensor in front of this shard
  bool aligned;            // to 16 bytes, every pointer
  DeviceRanks momentum_ranks, variance_ranks;
};

template <typename T, typename State>
struct Pointers {
  T* param;
  const T* grad;
  State *momentum, *variance;
  float *momentum_absmax, *variance_absmax, *master;
};

// As cpu::step_factors.
struct Factors {
  float one_minus_beta1, one_minus_beta2, step_size, epsilon, c2, decay, grad_scale;
  uint64_t counter_high;
};
__device__ Factors factors_of(const Arguments& a, const StepScalars& s) {
  const bool pytorch = a.form == AdamWForm::pytorch;
  const float lr = s.lr * a.lr_multiplier;
  const auto t = static_cast<double>(s.step);
  const double c1 = 1.0 - pow(static_cast<double>(a.beta1), t);
  const double c2 = sqrt(1.0 - pow(static_cast<double>(a.beta2), t));
  return {1.0f - a.beta1,
          1.0f - a.beta2,
          static_cast<float>(static_cast<double>(lr) * (pytorch ? 1.0 : c2) / c1),
          static_cast<float>(static_cast<double>(a.epsilon) * (pytorch ? 1.0 : c2)),
          static_cast<float>(c2),
          1.0f - lr * a.weight_decay,
          s.grad_scale,
          static_cast<uint64_t>(a.parameter) << 32 | static_cast<uint32_t>(s.step)};
}

struct Shared {
  DeviceCodeMap momentum, variance;
  DeviceRanks momentum_ranks, variance_ranks;
  Factors factors;
  uint16_t random[kWarps][kStateBlock];
};

// Eight values of a lane, zeros behind the last element.
template <typename T>
__device__ __forceinline__ void fetch(const T* from, int64_t left, bool whole, float* to) {
  if (whole) {
    constexpr int kCount = kPack<T> < kPerLane ? kPack<T> : kPerLane;
    for (int i = 0; i < kPerLane; i += kCount) {
      const auto pack = load_pack<kCount>(from + i);
      for (int j = 0; j < kCount; ++j) to[i + j] = to_float(pack.value[j]);
    }
  } else {
    for (int i = 0; i < kPerLane; ++i) to[i] = i < left ? to_float(from[i]) : 0.0f;
  }
}
template <typename T>
__device__ __forceinline__ void put(const Pack<T, kPerLane>& values, int64_t left, bool whole, T* to) {
  if (whole) {
    constexpr int kCount = kPack<T> < kPerLane ? kPack<T> : kPerLane;
    for (int i = 0; i < kPerLane; i += kCount) {
      Pack<T, kCount> pack;
      for (int j = 0; j < kCount; ++j) pack.value[j] = values.value[i + j];
      store_pack(to + i, pack);
    }
  } else {
    for (int i = 0; i < kPerLane && i < left; ++i) to[i] = values.value[i];
  }
}

// States are f32 themselves or codes of a map times the block's absmax.
__device__ __forceinline__ void fetch_state(const float* from, int64_t left, bool whole, const DeviceCodeMap&,
                                            float, float* to) {
  fetch(from, left, whole, to);
}
__device__ __forceinline__ void fetch_state(const uint8_t* from, int64_t left, bool whole,
                                            const DeviceCodeMap& map, float absmax, float* to) {
  Pack<uint8_t, kPerLane> codes;
  if (whole) codes = load_pack<kPerLane>(from);
  for (int i = 0; i < kPerLane; ++i) {
    if (!whole && i < left) codes.value[i] = from[i];
    to[i] = i < left ? map.value[codes.value[i]] * absmax : 0.0f;
  }
}
template <bool kSigned>
__device__ __forceinline__ void put_state(const float* values, int64_t left, bool whole, const DeviceCodeMap&,
                                          const DeviceRanks&, float* absmax, float* to) {
  (void)absmax;
  Pack<float, kPerLane> out;
  for (int i = 0; i < kPerLane; ++i) out.value[i] = values[i];
  put(out, left, whole, to);
}
template <bool kSigned>
__device__ __forceinline__ void put_state(const float* values, int64_t left, bool whole,
                                          const DeviceCodeMap& map, const DeviceRanks& ranks, float* absmax,
                                          uint8_t* to) {
  float highest = 0.0f;
  for (int i = 0; i < kPerLane; ++i) highest = fmaxf(highest, fabsf(values[i]));
  highest = warp_reduce<Max>(highest);
  Pack<uint8_t, kPerLane> codes;
  for (int i = 0; i < kPerLane; ++i) {
    codes.value[i] = kSigned ? 127 : 0;
    if (highest == 0.0f) continue;
    const uint8_t code = nearest_code<kSigned>(values[i] / highest, map, ranks);
    codes.value[i] = kSigned && values[i] < 0.0f && code == 127 ? static_cast<uint8_t>(126) : code;
  }
  put(codes, left, whole, to);
  if (threadIdx.x % kWarpSize == 0) *absmax = highest;
}

__device__ __forceinline__ void update(const Arguments& a, const Factors& f, float grad, float& p, float& m,
                                       float& v) {
  const float g = grad * f.grad_scale;
  v = a.beta2 * v + f.one_minus_beta2 * (g * g);
  if (a.form == AdamWForm::pytorch) {
    m = m + f.one_minus_beta1 * (g - m);
    p = p * f.decay - f.step_size * (m / (sqrtf(v) / f.c2 + f.epsilon));
  } else {
    m = a.beta1 * m + f.one_minus_beta1 * g;
    p = (p - f.step_size * (m / (sqrtf(v) + f.epsilon))) * f.decay;
  }
}

// rounding_bits() of the block's 256 elements: a lane makes one call of Philox, which serves eight elements.
__device__ __forceinline__ void draw(const Arguments& a, const Factors& f, int64_t block, uint16_t* random) {
  const auto lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const auto counter = static_cast<uint64_t>(a.first_block + block) * kWarpSize + static_cast<uint64_t>(lane);
  const PhiloxWords words = philox_words(a.seed, counter, f.counter_high);
  __syncwarp();  // the last block's bits have been read
  for (int w = 0; w < 4; ++w) {
    random[w * 64 + lane] = static_cast<uint16_t>(words.word[w]);
    random[w * 64 + 32 + lane] = static_cast<uint16_t>(words.word[w] >> 16);
  }
  __syncwarp();
}
__device__ __forceinline__ bf16 round_up_or_down(float value, uint32_t bits) {
  const uint32_t u = __float_as_uint(value);
  bf16 result = from_float<bf16>(value);
  if ((u & 0x7fffffffu) < 0x7f800000u) result.bits = static_cast<uint16_t>((u + bits) >> 16);
  return result;
}

__device__ __forceinline__ void put_param(const Arguments&, const Factors&, int64_t, uint16_t*, bool,
                                          const float* values, int64_t left, bool whole, float* to) {
  Pack<float, kPerLane> out;
  for (int i = 0; i < kPerLane; ++i) out.value[i] = values[i];
  put(out, left, whole, to);
}
__device__ __forceinline__ void put_param(const Arguments& a, const Factors& f, int64_t block,
                                          uint16_t* random, bool has_master, const float* values,
                                          int64_t left, bool whole, bf16* to) {
  Pack<bf16, kPerLane> out;
  if (!has_master) draw(a, f, block, random);
  const int first = static_cast<int>(threadIdx.x) % kWarpSize * kPerLane;
  for (int i = 0; i < kPerLane; ++i) {
    out.value[i] = has_master ? from_float<bf16>(values[i]) : round_up_or_down(values[i], random[first + i]);
  }
  put(out, left, whole, to);
}

template <typename T, typename State>
__device__ void step_block(const Arguments& a, const Pointers<T, State>& at, Shared& shared, int64_t block) {
  const int64_t begin = block * kStateBlock + static_cast<int64_t>(threadIdx.x % kWarpSize) * kPerLane;
  const int64_t left = a.n - begin;  // perhaps below zero
  const bool whole = a.aligned && left >= kPerLane, has_master = at.master != nullptr;
  const bool eight_bit = sizeof(State) == 1;
  const float m_absmax = eight_bit ? at.momentum_absmax[block] : 0.0f;
  const float v_absmax = eight_bit ? at.variance_absmax[block] : 0.0f;
  float p[kPerLane], g[kPerLane], m[kPerLane], v[kPerLane];
  fetch(at.grad + begin, left, whole, g);
  has_master ? fetch(at.master + begin, left, whole, p) : fetch(at.param + begin, left, whole, p);
  fetch_state(at.momentum + begin, left, whole, shared.momentum, m_absmax, m);
  fetch_state(at.variance + begin, left, whole, shared.variance, v_absmax, v);
  for (int i = 0; i < kPerLane; ++i) update(a, shared.factors, g[i], p[i], m[i], v[i]);
  put_state<true>(m, left, whole, shared.momentum, shared.momentum_ranks,
                  eight_bit ? at.momentum_absmax + block : nullptr, at.momentum + begin);
  put_state<false>(v, left, whole, shared.variance, shared.variance_ranks,
                   eight_bit ? at.variance_absmax + block : nullptr, at.variance + begin);
  if (has_master) {
    Pack<float, kPerLane> out;
    for (int i = 0; i < kPerLane; ++i) out.value[i] = p[i];
    put(out, left, whole, at.master + begin);
  }
  put_param(a, shared.factors, block, shared.random[threadIdx.x / kWarpSize], has_master, p, left, whole,
            at.param + begin);
}

template <typename T, typename State>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(GORGON_GRID_CONSTANT const Arguments a, Pointers<T, State> at, const StepScalars* scalars) {
  if (scalars->skip != 0) return;
  GORGON_DYNAMIC_SHARED(Shared, all);
  Shared& shared = *all;
  if (sizeof(State) == 1) {
    build<true>(shared.momentum);
    build<false>(shared.variance);
  }
  if (threadIdx.x == 0) {
    shared.factors = factors_of(a, *scalars);
    shared.momentum_ranks = a.momentum_ranks;
    shared.variance_ranks = a.variance_ranks;
  }
  __syncthreads();
  const int64_t blocks = divide_up(a.n, kStateBlock), step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t block = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpSize; block < blocks;
       block += step) {
    step_block(a, at, shared, block);
  }
}

DeviceRanks device_ranks(const cpu::RankFormula& f) {
  DeviceRanks to{};
  for (size_t i = 0; i < 8; ++i) {
    to.slope[i] = f.slope[i];
    to.offset[i] = f.offset[i];
    to.low[i] = f.low[i];
    to.high[i] = f.high[i];
  }
  to.segment_slope = f.segment_slope;
  to.segment_offset = f.segment_offset;
  to.top = f.top;
  to.top_rank = f.top_rank;
  return to;
}

bool aligned(const std::byte* data) {
  return reinterpret_cast<uintptr_t>(data) % 32 == 0;
}

template <typename T, typename State>
void run(const ParamGroup& group, const AdamWState& state, const Arguments& arguments,
         const StepScalars* scalars, const Stream& stream) {
  const Pointers<T, State> pointers{group.param.as<T>(),
                                    group.grad.as<T>(),
                                    state.momentum.as<State>(),
                                    state.variance.as<State>(),
                                    state.momentum_absmax.as<float>(),
                                    state.variance_absmax.as<float>(),
                                    state.master.as<float>()};
  const int64_t blocks = divide_up(divide_up(arguments.n, kStateBlock), int64_t{kWarps});
  launch(adamw_kernel<T, State>, dim3(static_cast<unsigned>(std::min(kMostBlocks, blocks))), dim3(kThreads),
         sizeof(Shared), stream, arguments, pointers, scalars);
}

}  // namespace

void adamw_step(const ParamGroup& group, const AdamWState& state, const AdamWOptions& options,
                const StepScalars* scalars, const Stream& stream) {
  const bool all_aligned = aligned(group.param.data) && aligned(group.grad.data) &&
                           aligned(state.momentum.data) && aligned(state.variance.data) &&
                           aligned(state.master.data);
  const Arguments arguments{options.form,
                            options.beta1,
                            options.beta2,
                            options.epsilon,
                            group.lr_multiplier,
                            group.weight_decay,
                            options.seed,
                            group.id,
                            group.param.elements(),
                            group.global_offset / kStateBlock,
                            all_aligned,
                            device_ranks(cpu::momentum_ranks()),
                            device_ranks(cpu::variance_ranks())};
  const bool eight_bit = state.momentum.type == DType::u8;
  if (group.param.type == DType::f32) {
    eight_bit ? run<float, uint8_t>(group, state, arguments, scalars, stream)
              : run<float, float>(group, state, arguments, scalars, stream);
  } else {
    eight_bit ? run<bf16, uint8_t>(group, state, arguments, scalars, stream)
              : run<bf16, float>(group, state, arguments, scalars, stream);
  }
}

}  // namespace gorgon::cuda
