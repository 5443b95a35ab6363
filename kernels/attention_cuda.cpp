// Packs the sequences of a call into launches; which kernel runs is decided here.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/attention.h"
#include "kernels/cuda/attention_launch.h"
#include "kernels/error.h"
#include "kernels/transfer.h"

namespace gorgon::cuda {

namespace {

// Trees that fit into no launch's arguments, in the stream's scratch memory. One copy for all of them.
const uint64_t* upload_trees(std::span<const AttentionSequence> sequences, const Stream& stream) {
  std::vector<uint64_t> words;
  for (const AttentionSequence& s : sequences) words.insert(words.end(), s.tree.begin(), s.tree.end());
  if (words.size() <= AttentionBatch::kTreeWords) return nullptr;
  const auto bytes = static_cast<int64_t>(words.size() * sizeof(uint64_t));
  void* memory = stream.scratch(bytes);
  upload(words.data(), memory, bytes, stream);
  return static_cast<const uint64_t*>(memory);
}

class Batches {
 public:
  Batches(AttentionLaunch call, bool is_f32, std::span<const AttentionSequence> sequences,
          const Stream& stream)
      : call_(call), is_f32_(is_f32), stream_(stream), trees_(upload_trees(sequences, stream)) {
    call_.batch = &batch_;
  }

  void add(const AttentionSequence& s) {
    if (s.tokens == 0) return;
    if (call_.sequences == AttentionBatch::kSequences) run();
    SequenceOnDevice& to = batch_.sequence[call_.sequences++];
    to = {s.keys.data,
          s.values.data,
          s.keys.stride(),
          s.values.stride(),
          s.begin,
          nullptr,
          static_cast<int32_t>(s.tokens),
          static_cast<int32_t>(s.keys.rows() - s.tokens),
          static_cast<int32_t>((s.tokens + 63) / 64),
          -1};
    if (!s.tree.empty()) add_tree(s, to);
    call_.most_tokens = std::max(call_.most_tokens, s.tokens);
  }

  void run() {
    if (call_.sequences == 0) return;
    if (is_f32_) {
      attend_plain<float>(call_, stream_);
    } else if (!attend_tensor(call_, stream_)) {
      attend_plain<bf16>(call_, stream_);
    }
    call_.sequences = 0;
    call_.most_tokens = 0;
  }

 private:
  void add_tree(const AttentionSequence& s, SequenceOnDevice& to) {
    if (trees_ != nullptr) {
      to.tree = trees_ + words_;
    } else {
      to.tree_at = static_cast<int32_t>(words_);
      std::copy(s.tree.begin(), s.tree.end(), batch_.tree + words_);
    }
    words_ += s.tree.size();
  }

  AttentionLaunch call_;
  bool is_f32_;
  const Stream& stream_;
  const uint64_t* trees_;
  size_t words_ = 0;  // of the trees so far
  AttentionBatch batch_{};
};

}  // namespace

void attention(ConstView q, std::span<const AttentionSequence> sequences, const AttentionShape& shape,
               View out, const Stream& stream) {
  AttentionLaunch call;
  call.q = q.data;
  call.q_stride = q.stride();
  call.out = out.data;
  call.out_stride = out.stride();
  call.heads = static_cast<int>(shape.heads);
  call.shape = {static_cast<int>(shape.heads / shape.kv_heads), static_cast<int>(shape.head_dim),
                shape.window, 1.0f / std::sqrt(static_cast<float>(shape.head_dim))};
  Batches batches(call, q.type == DType::f32, sequences, stream);
  for (const AttentionSequence& s : sequences) batches.add(s);
  batches.run();
}

}  // namespace gorgon::cuda
