#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "data/file.h"
#include "data/safetensors.h"
#include "model/model_config.h"

namespace gorgon {

// A tensor of a model as it lies in one of its files.
struct ModelTensor {
  std::string file;
  TensorEntry entry;  // a slice of a MappedFile of ModelFiles
};

// How a container names the tensors of the Llama family; those of layer l are prefix + l + "." + name.
struct TensorNames {
  std::string_view token_embedding, final_norm, lm_head;
  std::string_view layer_prefix;
  std::string_view attention_norm, query, key, value, attention_output;
  std::string_view feed_forward_norm, gate, up, down;
  std::string_view ignored_suffix;  // tensors of this ending hold nothing that config does not say

  std::string layer(int64_t l, std::string_view name) const {
    return std::string(layer_prefix) + std::to_string(l) + "." + std::string(name);
  }
};

// The files of a model: configuration read and checked, tensors found but not yet looked at.
struct ModelFiles {
  std::string path;  // named in errors that concern no single file
  ModelConfig config;
  TensorNames names;
  // Rows 2i and 2i + 1 of each head of q and k are a rotary pair (GGUF's Llama); else i and i + head_dim / 2.
  bool interleaved_heads = false;
  std::vector<MappedFile> files;
  std::map<std::string, ModelTensor> tensors;
};

// All throw Error(model).
ModelFiles open_gguf_model(const std::filesystem::path& path);
ModelFiles open_hugging_face_model(const std::filesystem::path& directory);
ModelConfig read_hugging_face_config(const std::filesystem::path& directory);

// Upper bounds of what a configuration may claim; far above any model there is.
struct ModelLimits {
  static constexpr int64_t layers = 4096;
  static constexpr int64_t width = 1 << 20;  // hidden_size, intermediate_size
  static constexpr int64_t heads = 1 << 14;
  static constexpr int64_t head_dim = 1 << 12;
  static constexpr int64_t vocabulary = 1 << 26;
  static constexpr int64_t positions = int64_t{1} << 40;
  static constexpr size_t json_bytes = size_t{64} << 20;  // of config.json or the index of shards
  static constexpr size_t json_values = 1'000'000;
};

// Checks what single values do not show (head counts that divide, an even head_dim, positive constants).
void check_config(const ModelConfig& config, const std::string& place);

// Checks that every tensor that the configuration asks for is there in its shape and in a type of weights,
// and that no other one is: an unknown tensor means a model that computes something else.
void check_tensors(const ModelFiles& files);

[[noreturn]] void fail_architecture(const std::string& place, const std::string& key,
                                    const std::string& found);

}  // namespace gorgon
