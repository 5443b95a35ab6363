#include "kernels/attention.h"

#include "kernels/error.h"

namespace gorgon {

namespace {

void check_sequence(const AttentionSequence& s, const AttentionShape& shape, ConstView q) {
  const int64_t width = shape.kv_heads * shape.head_dim;
  require(s.begin >= 0 && s.tokens >= 0 && s.begin + s.tokens <= q.rows(), "attention", "rows of a sequence");
  require(s.keys.type == q.type && s.values.type == q.type, "attention", "types");
  require(s.keys.columns() == width && s.values.columns() == width, "attention", "width of keys or values");
  require(s.keys.rows() == s.values.rows() && s.keys.rows() >= s.tokens, "attention", "number of keys");
  const auto words = static_cast<size_t>(s.tokens * ((s.tokens + 63) / 64));
  require(s.tree.empty() || s.tree.size() == words, "attention", "size of the tree mask");
  for (int64_t i = 0; i < s.tokens && !s.tree.empty(); ++i) {
    const uint64_t word = s.tree[static_cast<size_t>(i * ((s.tokens + 63) / 64) + i / 64)];
    require((word >> (i % 64) & 1) != 0, "attention", "a tree node that does not see itself");
  }
}

}  // namespace

void attention(ConstView q, std::span<const AttentionSequence> sequences, const AttentionShape& shape,
               View out, const Stream& stream) {
  require(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.head_dim > 0 && shape.window >= 0,
          "attention", "heads");
  require(q.shape.rank() == 2 && q.shape == out.shape && q.columns() == shape.heads * shape.head_dim,
          "attention", "shapes");
  require(q.type == out.type && (q.type == DType::f32 || q.type == DType::bf16), "attention", "types");
  for (const AttentionSequence& sequence : sequences) check_sequence(sequence, shape, q);
  if (stream.device().kind == DeviceKind::cuda) {
    cuda::attention(q, sequences, shape, out, stream);
  } else {
    cpu::attention(q, sequences, shape, out, stream);
  }
}

}  // namespace gorgon
