#pragma once

#include <filesystem>
#include <functional>
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

// How tensors come from the ranks of a job, and get to them: nothing, for one process that holds all of them
// (StateExchange of trainer/head_ranks.h otherwise: rank 0 calls what follows here, the others take part).
using GatherState = std::function<ConstView(const NamedState&)>;
using PlaceState = std::function<void(const NamedState&, const std::byte*)>;

// `metadata` joins {"format": "pt"}, which Hugging Face's loaders want.
void save_heads(const std::filesystem::path& path, MedusaHeads& heads,
                const std::map<std::string, std::string>& metadata, const GatherState& gather = {});

// Every trained tensor of the heads under its name in the file.
std::vector<NamedState> head_states(MedusaHeads& heads);

// Copies a file's tensors into heads of the same form, shape and type. Throws Error(checkpoint) naming the
// key of the form (medusa_head_linear, medusa_head_rank, medusa_vocab) or the tensor, what was expected and
// what was found, before anything is written.
void load_heads(const std::filesystem::path& path, MedusaHeads& heads, const PlaceState& place = {});

void save_optimizer(const std::filesystem::path& path, const std::vector<NamedState>& states,
                    const GatherState& gather = {});
void load_optimizer(const std::filesystem::path& path, const std::vector<NamedState>& states,
                    const PlaceState& place = {});

// config.json beside medusa_heads.safetensors: what every engine that reads numeric keys looks for, and
// nothing that one of them would misread (docs/engines.md).
std::string heads_config_json(const MedusaOptions& options, const ModelConfig& model,
                              const std::string& base_model, DType type);

}  // namespace gorgon
