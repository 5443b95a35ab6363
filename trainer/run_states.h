#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "trainer/head_trainer.h"

namespace gorgon {

// Heads and optimizer states of a run between files, which are those of one process, and the ranks that hold
// them. Every rank makes the same calls; rank 0 alone reads and writes files.
class RunStates {
 public:
  // All must outlive it.
  RunStates(HeadTrainer& trainer, const HeadRanks& ranks, const Stream& stream)
      : trainer_(trainer), ranks_(ranks), exchange_(ranks, stream), stream_(stream) {}

  // From a checkpoint's directory. Errors: heads_file.h.
  void load(const std::filesystem::path& checkpoint);
  void load_heads(const std::filesystem::path& checkpoint);

  using Metadata = std::map<std::string, std::string>;
  // On rank 0; the others follow() it, `with_optimizer` or without.
  void save(const std::filesystem::path& directory, const Metadata& metadata);
  void save_heads(const std::filesystem::path& directory, const Metadata& metadata);
  void follow(bool with_optimizer);

  // Heads that are divided over ranks, whole on all of them.
  MedusaHeads gather_heads(const WeightMatrix& lm_head, DType type);

 private:
  bool is_first() const { return !ranks_.is_several() || ranks_.host->rank() == 0; }

  HeadTrainer& trainer_;
  HeadRanks ranks_;
  StateExchange exchange_;
  const Stream& stream_;
};

}  // namespace gorgon
