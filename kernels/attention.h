#pragma once

#include <cstdint>
#include <span>

#include "kernels/tensor.h"

namespace gorgon {

struct AttentionShape {
  int64_t heads = 0;     // of queries; a multiple of kv_heads
  int64_t kv_heads = 0;  // query head h reads key head h / (heads / kv_heads)
  int64_t head_dim = 0;
  int64_t window = 0;  // tokens a query sees at most, itself included; 0 = all
};

// One sequence of a call. Its n new tokens are rows [begin, begin + n) of q; keys and values hold its p
// earlier tokens and then the new ones, so new token i is key p + i. Row strides are honoured.
struct AttentionSequence {
  int64_t begin = 0;
  int64_t tokens = 0;      // n
  ConstView keys, values;  // T[p + n, kv_heads * head_dim]
  // Tree of new tokens: n rows of ceil(n / 64) words; bit j of row i says that new token i sees new token j
  // (itself and its ancestors). Empty: every token sees itself and those before it.
  std::span<const uint64_t> tree;
};

// out[i, h] = softmax(q[i, h] . k[j, g] / sqrt(head_dim)) v[j, g] over the visible keys j: the earlier tokens
// and the new ones that causality or the tree allow, but for those that the window hides. In a tree the
// window counts along the path. q and out T[tokens, heads * head_dim], T = f32 or bf16 throughout; arithmetic
// in f32, rounded once.
//
// Memory is a block of queries by the keys, never [S, S]. Every sum over keys runs in order of the key and is
// one chain, and a hidden key adds an exact zero: a token's result is the same to the bit however many tokens
// ride along, whether its keys are new or cached, and whether its path lies in a tree or alone. (Keys must be
// finite.) `sequences` lies in host memory.
void attention(ConstView q, std::span<const AttentionSequence> sequences, const AttentionShape& shape,
               View out, const Stream& stream);

namespace cpu {
void attention(ConstView q, std::span<const AttentionSequence> sequences, const AttentionShape& shape,
               View out, const Stream& stream);
}
namespace cuda {
void attention(ConstView q, std::span<const AttentionSequence> sequences, const AttentionShape& shape,
               View out, const Stream& stream);
}

}  // namespace gorgon
