#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "kernels/weight_matrix.h"
#include "model/medusa_heads.h"

namespace gorgon {

// How the matrices of heads are kept. q8_0: those whose rows are whole blocks of 32 in 8 bits (quantise.h),
// in panels: a step of decoding reads half of bf16's bytes. Drafts decide how fast tokens come, never which.
enum class HeadStorage : uint8_t { full, q8_0 };

// Medusa heads as a decoder runs them, in whatever form they were saved.
class DraftHeads {
 public:
  // A file with numeric keys (medusa_heads.safetensors, medusa_lm_head.safetensors). A head's Linear is its
  // own ("{k}.{L}.weight" [N, H]), the backbone's where the key is missing, or lm_head + B A where
  // "{k}.{L}.A" [r, H] and "{k}.{L}.B" [N, r] are there; N is the vocabulary, or the length of "vocab_ids"
  // i32[N] where the file has it. Values become `compute` (f32 or bf16), or 8 bits on a CPU. Throws
  // Error(checkpoint) naming the tensor, what the backbone asks for and what was found.
  static DraftHeads load(const std::filesystem::path& file, const WeightMatrix& lm_head, DType compute,
                         const Stream& stream, HeadStorage storage = HeadStorage::full);

  // Heads in training as they are at this moment: `heads` lends its memory and must outlive the result.
  // vocabulary: the backbone's.
  static DraftHeads of(const MedusaHeads& heads, int64_t vocabulary);

  int count() const { return static_cast<int>(heads_.size()); }  // K
  int layers() const { return heads_.empty() ? 0 : static_cast<int>(heads_[0].blocks.size()); }
  int64_t outputs() const { return vocab_ids_.empty() ? vocabulary_ : std::ssize(vocab_ids_); }  // N
  DType compute() const { return compute_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // logits f32[n, N] of head k (from 0) on states T[n, H], T = compute.
  void logits(int k, ConstView states, View out, const Stream& stream) const;
  // Of the first `count` heads at once: f32[count * n, N], head by head. Heads that share their Linear read
  // it once. The bits are those of logits() (f32 always; bf16 where rows of products do not depend on
  // others).
  void first_logits(int count, ConstView states, View out, const Stream& stream) const;
  const std::vector<int32_t>& vocab_ids() const { return vocab_ids_; }  // ascending; empty = all tokens
  // Token of output column i.
  int32_t token(int64_t i) const {
    return vocab_ids_.empty() ? static_cast<int32_t>(i) : vocab_ids_[static_cast<size_t>(i)];
  }
  int32_t column(int32_t token) const;  // -1 where the heads do not know the token
  // Number of tokens that a row of logits prefers to `token` (equal logits: the lower id first); N where the
  // heads cannot say it.
  int32_t rank(std::span<const float> logits, int32_t token) const;

  // Every head with a Linear of its own over the whole vocabulary [vocabulary, H]: low rank merged, pruned
  // vocabularies expanded with zero rows. Values are compute's type, on the host.
  struct FullTensor {
    std::string name;
    Tensor values;
  };
  std::vector<FullTensor> full_tensors(int64_t vocabulary) const;
  bool is_merged_by_export() const { return !heads_.empty() && !heads_[0].a.empty(); }

 private:
  struct Block {
    WeightMatrix weight;  // [H, H]
    Tensor bias;          // T[H]
  };
  struct Head {
    std::vector<Block> blocks;
    WeightMatrix linear;  // [N, H]
    WeightMatrix a, b;    // [r, H], [N, r]; empty where linear is all
  };
  friend class DraftHeadsReader;

  void features(const Head& head, ConstView states, View out, const Stream& stream) const;  // T[n, H]
  void add_low_rank(const Head& head, ConstView features, View out, const Stream& stream) const;

  std::vector<Head> heads_;
  std::vector<int32_t> vocab_ids_;  // ascending; empty = the whole vocabulary
  int64_t vocabulary_ = 0;
  DType compute_ = DType::f32;
  std::map<std::string, std::string> metadata_;
};

// The `count` largest values of a row, largest first, the lower index first of equals.
std::vector<int32_t> top_indices(std::span<const float> values, int32_t count);

}  // namespace gorgon
