#pragma once

#include "kernels/cuda/device.h"

namespace gorgon::cuda {

// The code maps of kernels/code_map.h in a block's shared memory, built there: the same bits. Ranks are those
// of |x| among the values >= 0 of a map.
struct DeviceCodeMap {
  float value[256];
  float
      threshold[256];  // [c]: the smallest f32 whose nearest value is value[c + 1]; the last one is infinity
};

// RankFormula of optim/adamw_block.h, as an argument of the launch and then in shared memory.
struct DeviceRanks {
  float slope[8], offset[8], low[8], high[8];
  float segment_slope, segment_offset, top, top_rank;
};

// PyTorch's linspace(0.1, 1, n + 1) in f32.
__device__ __forceinline__ float linspace_boundary(int k, int n) {
  const float step = (1.0f - 0.1f) / static_cast<float>(n);
  return k < (n + 1) / 2 ? fmaf(step, static_cast<float>(k), 0.1f)
                         : fmaf(-step, static_cast<float>(n - k), 1.0f);
}

// Value k of n in decade i of seven.
__device__ __forceinline__ float decade_value(int i, int k, int n) {
  const float powers[7] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  return powers[i] * ((linspace_boundary(k, n) + linspace_boundary(k + 1, n)) / 2.0f);
}

template <bool kSigned>
__device__ float code_value(int code) {
  if (code == 255) return 1.0f;
  const int rank = kSigned ? abs(code - 127) : code;
  if (rank == 0) return 0.0f;
  // Ranks of decade i begin at 2^i in the signed map and at 2^(i + 1) - 1 in the unsigned one.
  const int place = kSigned ? rank : rank + 1;
  const int log = 31 - __clz(place), n = 1 << log;
  const float value = decade_value(kSigned ? log : log - 1, place - n, n);
  return kSigned && code < 127 ? -value : value;
}

// Halfway belongs to the even code.
__device__ __forceinline__ float first_above_half(float low, float high, int code_of_high) {
  const double half = (static_cast<double>(low) + static_cast<double>(high)) / 2.0;
  const auto rounded = static_cast<float>(half);
  const auto exact = static_cast<double>(rounded);
  if (exact > half || (exact == half && code_of_high % 2 == 0)) return rounded;
  const uint32_t bits = __float_as_uint(rounded);
  return __uint_as_float(rounded > 0.0f ? bits + 1 : bits - 1);
}

// By all threads of the block, 256 or more; a barrier must follow.
template <bool kSigned>
__device__ void build(DeviceCodeMap& map) {
  const int code = static_cast<int>(threadIdx.x);
  if (code >= 256) return;
  map.value[code] = code_value<kSigned>(code);
  map.threshold[code] =
      code == 255 ? __uint_as_float(0x7f800000u)
                  : first_above_half(code_value<kSigned>(code), code_value<kSigned>(code + 1), code + 1);
}

// Code of the value nearest to x in [-1, 1]. A formula that is linear in each decade finds it; where
// roundings could have moved its answer, the thresholds decide.
template <bool kSigned>
__device__ __forceinline__ uint8_t nearest_code(float x, const DeviceCodeMap& map, const DeviceRanks& f) {
  constexpr float kBand = 3e-4f;
  const float magnitude = fabsf(x);
  const auto bits = static_cast<float>(static_cast<int>(__float_as_uint(magnitude)));
  const float nearest = rintf(fmaf(bits, f.segment_slope, f.segment_offset));
  const int segment = static_cast<int>(fminf(fmaxf(nearest, 0.0f), 7.0f));
  const float position = fmaf(magnitude, f.slope[segment], f.offset[segment]), floor = floorf(position);
  const float part = position - floor, to_top = position - f.top;
  const bool unsure = part < kBand || part > 1.0f - kBand || fabsf(to_top) < kBand;
  float rank = fmaxf(floor, f.low[segment]);
  if (rank >= f.high[segment]) rank -= 1.0f;
  rank = to_top >= 0.0f ? f.top_rank : fminf(rank, f.high[segment]);
  int code = static_cast<int>(rank);
  if (kSigned) code = x < 0.0f ? 127 - (code < 127 ? code : 127) : 127 + code;
  if (unsure) {
    while (code > 0 && x < map.threshold[code - 1]) --code;
    while (x >= map.threshold[code]) ++code;
  }
  return static_cast<uint8_t>(code);
}

}  // namespace gorgon::cuda
