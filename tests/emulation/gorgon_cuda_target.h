#pragma once

// CUDA's vocabulary for a C++ compiler, so that the kernels' own sources run on the CPU, thread by thread
// (see block.h). Found in place of kernels/cuda/native/gorgon_cuda_target.h; only what the kernels use is
// here.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/cuda/queue.h"
#include "kernels/device.h"
#include "tests/emulation/block.h"
#include "tests/emulation/device_memory.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define GORGON_GRID_CONSTANT

// The built-in variables are whatever the running thread says.
#define threadIdx (::gorgon::emulation::runner().thread_index)
#define blockIdx (::gorgon::emulation::runner().block_index)
#define blockDim (::gorgon::emulation::runner().block)
#define gridDim (::gorgon::emulation::runner().grid)

#define GORGON_DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(::gorgon::emulation::runner().shared())

namespace gorgon::emulation {
template <typename T>
T exchange(WarpOp op, uint32_t mask, T value, int argument, const std::source_location& where) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = runner().warp(op, mask, bits, argument, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
using Where = std::source_location;

// The values of all 32 lanes, by lane.
template <typename T>
const T* share(T value, const std::source_location& where) {
  static_assert(sizeof(T) == sizeof(uint64_t));
  return reinterpret_cast<const T*>(
      runner().warp(WarpOp::share, 0xffffffffu, std::bit_cast<uint64_t>(value), 0, where));
}
}  // namespace gorgon::emulation

inline void __syncthreads(gorgon::emulation::Where where = gorgon::emulation::Where::current()) {
  gorgon::emulation::runner().barrier(where);
}
inline void __syncwarp(uint32_t mask = 0xffffffffu,
                       gorgon::emulation::Where where = gorgon::emulation::Where::current()) {
  gorgon::emulation::exchange(gorgon::emulation::WarpOp::sync, mask, 0, 0, where);
}
template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, int lanes,
                  gorgon::emulation::Where where = gorgon::emulation::Where::current()) {
  return gorgon::emulation::exchange(gorgon::emulation::WarpOp::shuffle_xor, mask, value, lanes, where);
}
template <typename T>
T __shfl_down_sync(uint32_t mask, T value, int lanes,
                   gorgon::emulation::Where where = gorgon::emulation::Where::current()) {
  return gorgon::emulation::exchange(gorgon::emulation::WarpOp::shuffle_down, mask, value, lanes, where);
}
template <typename T>
T __shfl_up_sync(uint32_t mask, T value, int lanes,
                 gorgon::emulation::Where where = gorgon::emulation::Where::current()) {
  return gorgon::emulation::exchange(gorgon::emulation::WarpOp::shuffle_up, mask, value, lanes, where);
}
template <typename T>
T __shfl_sync(uint32_t mask, T value, int lane,
              gorgon::emulation::Where where = gorgon::emulation::Where::current()) {
  return gorgon::emulation::exchange(gorgon::emulation::WarpOp::shuffle_index, mask, value, lane, where);
}
inline uint32_t __ballot_sync(uint32_t mask, int vote,
                              gorgon::emulation::Where where = gorgon::emulation::Where::current()) {
  const uint64_t flag = vote != 0 ? 1 : 0;
  return static_cast<uint32_t>(
      gorgon::emulation::runner().warp(gorgon::emulation::WarpOp::ballot, mask, flag, 0, where));
}
inline int __any_sync(uint32_t mask, int vote,
                      gorgon::emulation::Where where = gorgon::emulation::Where::current()) {
  return __ballot_sync(mask, vote, where) != 0 ? 1 : 0;
}
inline int __all_sync(uint32_t mask, int vote,
                      gorgon::emulation::Where where = gorgon::emulation::Where::current()) {
  return __ballot_sync(mask, vote == 0 ? 1 : 0, where) == 0 ? 1 : 0;
}

// Threads run one at a time, so a plain read-modify-write is atomic.
template <typename T>
T atomicAdd(T* address, T value) {
  static_assert(std::is_integral_v<T>, "sums of floats by atomics differ from run to run");
  const T old = *address;
  *address = old + value;
  return old;
}
template <typename T>
T atomicMax(T* address, T value) {
  const T old = *address;
  if (value > old) *address = value;
  return old;
}
template <typename T>
T atomicMin(T* address, T value) {
  const T old = *address;
  if (value < old) *address = value;
  return old;
}
template <typename T>
T atomicOr(T* address, T value) {
  const T old = *address;
  *address = old | value;
  return old;
}
inline void __threadfence() {}

inline uint32_t __float_as_uint(float value) {
  return std::bit_cast<uint32_t>(value);
}
inline float __uint_as_float(uint32_t bits) {
  return std::bit_cast<float>(bits);
}
inline int __clz(int value) {
  return std::countl_zero(static_cast<uint32_t>(value));
}
inline int __popcll(uint64_t bits) {
  return std::popcount(bits);
}
inline uint32_t __umulhi(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
}
inline float rsqrtf(float value) {
  return 1.0f / std::sqrt(value);
}
namespace gorgon::cuda {

// The emulated launch: converts the arguments as a launch would and puts the grid into the stream. Pointers
// must lead into device memory.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, const Stream& stream,
            Arguments&&... arguments) {
  const std::tuple<std::remove_cv_t<Parameters>...> values(std::forward<Arguments>(arguments)...);
  std::apply([](const auto&... value) { (emulation::check_argument(value), ...); }, values);
  ++emulation::host_calls().launches;
  const char* name = __PRETTY_FUNCTION__;
  emulation::enqueue(queue_of(stream).stream, [=] {
    emulation::KernelAccess access;  // device memory may be touched while this lives
    emulation::runner().run(name, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared_bytes,
                            [&] { std::apply([&](const auto&... value) { kernel(value...); }, values); });
  });
}

}  // namespace gorgon::cuda
