#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "kernels/quantise.h"
#include "kernels/weight_matrix.h"
#include "model/model_config.h"

namespace gorgon {

struct LayerWeights {
  Tensor attention_norm;  // f32[H]
  // [(heads + 2 kv_heads) * head_dim, H], rows of q, then k, then v; without v where `value` has it
  WeightMatrix query_key_value;
  WeightMatrix attention_output;  // [H, heads * head_dim]
  Tensor feed_forward_norm;       // f32[H]
  WeightMatrix gate_up;           // [2 I, H], rows of gate, then up
  WeightMatrix down;              // [H, I]
  WeightMatrix value;  // [kv_heads * head_dim, H] as GGUF blocks of another type than q and k; or empty
};

struct ModelWeights {
  ModelConfig config;
  WeightMatrix token_embedding;  // [V, H]
  std::vector<LayerWeights> layers;
  Tensor final_norm;     // f32[H]
  WeightMatrix lm_head;  // [V, H]; shares storage with token_embedding when tied
  // SHA-256 over one line per tensor of the files, sorted by name: "NAME TYPE D0 D1 ...
  // SHA256-OF-ITS-BYTES\n", shape outermost first, type as name(DType) says.
  std::string fingerprint;
};

// Loads a backbone from a GGUF file or a Hugging Face directory (config.json, *.safetensors with or without
// an index). Matrices become `compute` (f32 or bf16); the Q/K rows of GGUF's Llama are put back in Hugging
// Face's order, so that rotary embedding always pairs element i with i + head_dim / 2. Every tensor is
// checked (missing, shape, NaN) before the first is used. A layer begins with a stop point of the stream.
// Throws Error(model).
//
// WeightStorage::as_stored keeps matrices of GGUF blocks as they are (all but the embedding table; parts of
// one matrix that differ in type are converted, but for v, which files of mixed types keep in more bits than
// q and k): a step of decoding then reads 4 to 8 bits a weight.
// WeightStorage::compact_tables keeps just the embedding table and an lm_head tied to it so, in rows: for a
// CPU that reads some of their rows now and then, and gets from them the bits of converted ones.
//
// quantise: the layers' matrices are kept so (embeddings, norms and lm_head are not, as bitsandbytes leaves
// them), each tensor of the file for itself and one layer at a time; converted first, whatever `storage` is.
// fp8 needs a GPU that has it (check_fp8).
enum class WeightStorage { converted, as_stored, compact_tables };
ModelWeights load_model(const std::filesystem::path& path, DType compute, const Stream& stream,
                        WeightStorage storage = WeightStorage::converted,
                        Quantisation quantise = Quantisation::none);

// config only, without reading weights (for `plan`, checks before a run).
ModelConfig load_model_config(const std::filesystem::path& path);
// The same, after checking that every tensor is there in its shape and type. Throws Error(model).
ModelConfig check_model(const std::filesystem::path& path);

}  // namespace gorgon
