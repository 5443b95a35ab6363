#pragma once

// What device code is written with: CUDA's vocabulary (the compiler's own, or the tests' emulation of it),
// f32 and bf16 by one name, sums over warps and blocks whose order is fixed.

#include <cstdint>

#include "gorgon_cuda_target.h"
#include "kernels/dtype.h"

namespace gorgon::cuda {

constexpr int kWarpSize = 32;
constexpr uint32_t kFullMask = 0xffffffffu;

template <typename I>
__host__ __device__ constexpr I divide_up(I a, I b) {
  return (a + b - 1) / b;
}

// --- element types
// -------------------------------------------------------------------------------------------
__device__ __forceinline__ float to_float(float value) {
  return value;
}
__device__ __forceinline__ float to_float(bf16 value) {
  return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}

template <typename T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) {
  return value;
}
// To nearest even, as the constructor of bf16 on the host.
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float value) {
  const uint32_t u = __float_as_uint(value);
  bf16 result;
  const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
  result.bits = static_cast<uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  return result;
}

// N elements that are read and written in one go; the address must be a multiple of their size.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T value[N];
};
template <typename T>
constexpr int kPack = 16 / static_cast<int>(sizeof(T));  // elements of a 16-byte access

template <int N, typename T>
__device__ __forceinline__ Pack<T, N> load_pack(const T* source) {
  return *reinterpret_cast<const Pack<T, N>*>(source);
}
template <int N, typename T>
__device__ __forceinline__ void store_pack(T* target, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(target) = pack;
}

// --- sums and maxima
// ----------------------------------------------------------------------------------------- Every thread of
// the warp (block) gets the result, and all threads must call. The order of the additions is fixed: the same
// bits in every run.
struct Sum {
  template <typename V>
  __device__ static V of(V a, V b) {
    return a + b;
  }
};
struct Max {
  template <typename V>
  __device__ static V of(V a, V b) {
    return a > b ? a : b;
  }
};

template <typename Op, typename V>
__device__ __forceinline__ V warp_reduce(V value) {
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
    value = Op::of(value, __shfl_xor_sync(kFullMask, value, lanes));
  }
  return value;
}

// blockDim is (threads, 1, 1), a multiple of 32. scratch: shared memory for 32 values, free again when the
// call returns.
template <typename Op, typename V>
__device__ __forceinline__ V block_reduce(V value, V* scratch, V neutral) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize,
            warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  value = warp_reduce<Op>(value);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  value = warp_reduce<Op>(lane < warps ? scratch[lane] : neutral);
  __syncthreads();
  return value;
}

}  // namespace gorgon::cuda
