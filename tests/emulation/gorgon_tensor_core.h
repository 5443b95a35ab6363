#pragma once

// The emulation of kernels/cuda/native/gorgon_tensor_core.h, by PTX's description of each instruction.

#include <array>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "gorgon_cuda_target.h"

namespace gorgon::cuda {

namespace emulated {
struct Operands {
  const uint32_t* a;
  uint32_t b[2];
};
inline float element(uint32_t pair, int which) {
  return __uint_as_float(which == 0 ? pair << 16 : pair & 0xffff0000u);
}
}  // namespace emulated

// Element (i, k) of a lies in lane i % 8 * 4 + k % 8 / 2, register i / 8 + k / 8 * 2; element (k, j) of b in
// lane j * 4 + k % 8 / 2, register k / 8.
inline void multiply_16x8x16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                             emulation::Where where = emulation::Where::current()) {
  emulated::Operands mine{a, {b0, b1}};
  const emulated::Operands* const* all = emulation::share<const emulated::Operands*>(&mine, where);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int r = 0; r < 4; ++r) {
    const int i = lane / 4 + r / 2 * 8, j = lane % 4 * 2 + r % 2;
    float sum = c[r];
    for (int k = 0; k < 16; ++k) {
      const int part = k % 8 / 2;
      sum += emulated::element(all[i % 8 * 4 + part]->a[i / 8 + k / 8 * 2], k % 2) *
             emulated::element(all[j * 4 + part]->b[k / 8], k % 2);
    }
    c[r] = sum;
  }
  __syncwarp(0xffffffffu, where);  // the others have read this lane's registers
}

template <bool kTransposed>
void load_matrices(uint32_t (&r)[4], const void* row, emulation::Where where = emulation::Where::current()) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) emulation::misaligned(where);
  const void* const* rows = emulation::share<const void*>(row, where);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int m = 0; m < 4; ++m) {
    uint32_t pair = 0;
    for (int e = 0; e < 2; ++e) {
      const int i = kTransposed ? lane % 4 * 2 + e : lane / 4, j = kTransposed ? lane / 4 : lane % 4 * 2 + e;
      uint16_t bits = 0;
      std::memcpy(&bits, static_cast<const char*>(rows[m * 8 + i]) + j * 2, 2);
      pair |= static_cast<uint32_t>(bits) << (16 * e);
    }
    r[m] = pair;
  }
}

// Copies happen when they are waited for, so that a read without a wait finds what was there before.
inline void copy_async(void* shared, const void* global, bool exists,
                       emulation::Where where = emulation::Where::current()) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 ||
      (exists && reinterpret_cast<uintptr_t>(global) % 16 != 0)) {
    emulation::misaligned(where);
  }
  emulation::runner().copy_later(shared, exists ? global : nullptr, 16);
}
inline void copy_async_commit() {
  emulation::runner().commit_copies();
}
template <int kPending>
void copy_async_wait() {
  emulation::runner().finish_copies(kPending);
}

}  // namespace gorgon::cuda
