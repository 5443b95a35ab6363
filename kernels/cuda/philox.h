#pragma once

#include "kernels/cuda/device.h"

namespace gorgon::cuda {

// philox() of kernels/philox.h in device code: the same words.
struct PhiloxWords {
  uint32_t word[4];
};
__device__ __forceinline__ PhiloxWords philox_words(uint64_t key, uint64_t counter_low,
                                                    uint64_t counter_high) {
  PhiloxWords c{{static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
                 static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)}};
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = __umulhi(0xD2511F53u, c.word[0]), low0 = 0xD2511F53u * c.word[0];
    const uint32_t high1 = __umulhi(0xCD9E8D57u, c.word[2]), low1 = 0xCD9E8D57u * c.word[2];
    c = {{high1 ^ c.word[1] ^ k0, low1, high0 ^ c.word[3] ^ k1, low0}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

}  // namespace gorgon::cuda
