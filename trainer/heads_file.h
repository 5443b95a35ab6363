#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/tensor.h"
#include "model/medusa_heads.h"
#include "model/model_config.h"
#include "trainer/head_trainer.h"

namespace gorgon {

// Trained heads and optimizer states as safetensors files. Names of heads: model/medusa_heads.h, and
// "vocab_ids" i32[N] beside them where the vocabulary is pruned.
constexpr const char* kHeadsFile = "medusa_heads.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";

// `metadata` joins {"format": "pt"}, which Hugging Face's loaders want.
void save_heads(const std::filesystem::path& path, MedusaHeads& heads,
                const std::map<std::string, std::string>& metadata);

// Every trained tensor of the heads under its name in the file.
std::vector<HeadTrainer::NamedState> head_states(MedusaHeads& heads);

// Copies a file's tensors into heads of the same form, shape and type. Throws Error(checkpoint) naming the
// key of the form (medusa_head_linear, medusa_head_rank, medusa_vocab) or the tensor, what was expected and
// what was found, before anything is written.
void load_heads(const std::filesystem::path& path, MedusaHeads& heads);

void save_optimizer(const std::filesystem::path& path, const std::vector<HeadTrainer::NamedState>& states);
void load_optimizer(const std::filesystem::path& path, const std::vector<HeadTrainer::NamedState>& states);

// config.json beside medusa_heads.safetensors: what every engine that reads numeric keys looks for, and
// nothing that one of them would misread (docs/engines.md).
std::string heads_config_json(const MedusaOptions& options, const ModelConfig& model,
                              const std::string& base_model, DType type);

}  // namespace gorgon
