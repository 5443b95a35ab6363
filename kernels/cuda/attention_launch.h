#pragma once

#include <cstdint>

#include "kernels/device.h"
#include "kernels/dtype.h"

namespace gorgon::cuda {

// What the attention kernels are told about a sequence; a launch takes several, small enough to travel as an
// argument of it.
struct SequenceOnDevice {
  const void *keys, *values;
  int64_t key_stride, value_stride;  // elements
  int64_t begin;                     // row of q of the first new token
  const uint64_t* tree;         // device memory; nullptr: no tree, or one that lies in AttentionBatch::tree
  int32_t tokens, past, words;  // words of a row of the tree
  int32_t tree_at;              // in AttentionBatch::tree, or -1
};
struct AttentionBatch {
  static constexpr int kSequences = 32, kTreeWords = 128;
  SequenceOnDevice sequence[kSequences];
  uint64_t tree[kTreeWords];
};
static_assert(sizeof(AttentionBatch) <= 3584);  // of the 4,096 bytes that all arguments of a launch share

struct AttentionHeads {
  int group;  // query heads of a key head
  int dim;
  int64_t window;
  float scale;
};

struct AttentionLaunch {
  const void* q = nullptr;
  void* out = nullptr;
  int64_t q_stride = 0, out_stride = 0;
  const AttentionBatch* batch = nullptr;
  int sequences = 0;
  int64_t most_tokens = 0;  // of a sequence
  int heads = 0;
  AttentionHeads shape{};
};

// Any head size up to 256; T = float or bf16. The contract of attention(), to the bit.
template <typename T>
void attend_plain(const AttentionLaunch& call, const Stream& stream);

// bf16 on tensor cores; false, with nothing launched, where the head size is not 64, 96, 128 or 256 or an
// operand is not aligned to 16 bytes. Weights are rounded to bf16; a token's bits depend on its place among
// the keys.
bool attend_tensor(const AttentionLaunch& call, const Stream& stream);

}  // namespace gorgon::cuda
