#pragma once

#include "kernels/attention.h"

// Inside of the CPU backend of attention().
namespace gorgon::cpu {

// Queries of `tokens` new tokens of one sequence, for one head of keys: rows = tokens x (heads / kv_heads),
// token after token.
struct AttentionTask {
  const AttentionSequence* sequence;
  int64_t kv_head;
  int64_t first, tokens;  // among the sequence's new tokens
};

// Memory of one thread, f32, sized for its largest task by attention_buffers().
struct AttentionBuffers {
  float* queries;  // [rows, head_dim], then packed in strips
  float* packed_queries;
  float* scores;  // [rows, keys rounded up to a panel]
  float* panels;  // packed keys, then packed values: [256, head_dim rounded up to a panel]
  float* strip;   // packed weights of one strip: [256, 8]
  float* sums;    // [rows] sums of weights
  float* output;  // [rows, head_dim rounded up to a panel]
};

}  // namespace gorgon::cpu
