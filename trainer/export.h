#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/draft_heads.h"
#include "trainer/found_heads.h"

namespace gorgon {

struct ExportReport {
  int heads = 0, layers = 0;
  double largest_difference = 0;  // between logits of the export and of the run's heads
  // Greedy accepted length of the reloaded heads and of the run's, over the same answers: what zero rows in
  // place of left-out ones do to it. Of pruned heads alone; 0 of others.
  double accept_length = 0, run_accept_length = 0;
  std::string measured_on;         // "8 prompts of FILE"
  std::vector<std::string> files;  // names within the directory
};

// Writes heads as TGI, TensorRT-LLM and vLLM 0.25-0.32 read them: medusa_lm_head.safetensors with numeric
// keys (low-rank heads merged, pruned ones expanded with zero rows, a shared lm_head written out) and the
// run's own keys that evaluation needs (run_keys.h) in its metadata, config.json, the tokenizer's files where
// the model directory has them, and tree.json and trained_prompts where the run has them. Everything is
// written into a temporary directory and checked there before it gets its name: the keys are exactly those
// that the engines read, config.json's sizes are the tensors', and the reloaded heads give the run's logits
// (to rounding where matrices were merged). Of pruned heads the accepted length is measured too, along the
// backbone's own answers to prompts of the run's evaluation data, or, without it, to tokens of their
// vocabulary; tree.json names the exported heads where it named the run's. Throws Error(check_failed)
// otherwise, Error(config) when `directory` is there and not empty. `stage` announces what is decoded to
// measure that.
ExportReport export_hf(const FoundHeads& found, const ModelWeights& weights,
                       const std::filesystem::path& directory, const Stream& stream,
                       const StageProgress& stage = {});

}  // namespace gorgon
