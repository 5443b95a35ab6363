// A model in one GGUF file. Exporters write both Llama and Mistral as architecture "llama".
#include "data/gguf.h"
#include "kernels/dequantise.h"
#include "model/model_files.h"
#include "model/rope_scaling.h"

namespace gorgon {

namespace {

constexpr TensorNames kNames = {.token_embedding = "token_embd.weight",
                                .final_norm = "output_norm.weight",
                                .lm_head = "output.weight",
                                .layer_prefix = "blk.",
                                .attention_norm = "attn_norm.weight",
                                .query = "attn_q.weight",
                                .key = "attn_k.weight",
                                .value = "attn_v.weight",
                                .attention_output = "attn_output.weight",
                                .feed_forward_norm = "ffn_norm.weight",
                                .gate = "ffn_gate.weight",
                                .up = "ffn_up.weight",
                                .down = "ffn_down.weight",
                                .ignored_suffix = "rope_freqs.weight"};
constexpr std::string_view kRopeFactors = "rope_freqs.weight";

void check_architecture(const Gguf& gguf) {
  const std::string& architecture = gguf.string("general.architecture");
  if (architecture != "llama")
    fail_architecture(gguf.file, "general.architecture", quote_value(architecture));
  if (gguf.has("llama.expert_count") && gguf.integer("llama.expert_count", 0, INT64_MAX) > 0) {
    fail_architecture(gguf.file, "llama.expert_count", "a mixture of experts");
  }
  if (gguf.has("split.count") && gguf.integer("split.count", 0, INT64_MAX) > 1) {
    fail(ExitCode::model, {gguf.file, "split.count", "one file", "a part of several",
                           "join them with llama-gguf-split --merge FIRST OUTPUT"});
  }
}

// The divisors that the file holds as a tensor (Llama 3.1), or those that its keys describe.
std::vector<float> read_rope_factors(const Gguf& gguf, int64_t head_dim) {
  if (const auto found = gguf.tensors.find(std::string(kRopeFactors)); found != gguf.tensors.end()) {
    const TensorEntry& entry = found->second;
    if (entry.type != DType::f32 || entry.shape != std::vector<int64_t>{head_dim / 2}) {
      fail(ExitCode::model, {gguf.file, std::string(kRopeFactors),
                             "f32[" + std::to_string(head_dim / 2) + "]", "another type or shape", ""});
    }
    std::vector<float> factors(static_cast<size_t>(head_dim / 2));
    dequantise_elements(DType::f32, entry.bytes.data(), head_dim / 2, DType::f32, factors.data());
    return factors;
  }
  const std::string type_key = "llama.rope.scaling.type";
  const std::string type = gguf.has(type_key) ? gguf.string(type_key) : "none";
  if (type == "none") {
    const std::string old_key = "llama.rope.scale_linear";
    if (!gguf.has(old_key)) return {};
    return linear_rope_factors(head_dim, gguf.number(old_key));
  }
  if (type != "linear") {
    fail(ExitCode::model,
         {gguf.file, type_key, "none or linear (or factors in rope_freqs.weight)", quote_value(type), ""});
  }
  return linear_rope_factors(head_dim, gguf.number("llama.rope.scaling.factor"));
}

int64_t vocabulary_size(const Gguf& gguf) {
  const auto found = gguf.tensors.find(std::string(kNames.token_embedding));
  if (found == gguf.tensors.end()) {
    fail(ExitCode::model, {gguf.file, std::string(kNames.token_embedding), "the matrix of token embeddings",
                           "no such tensor", "check that the file holds a language model"});
  }
  const int64_t rows = found->second.shape.front();
  if (gguf.has("llama.vocab_size")) gguf.integer("llama.vocab_size", rows, rows);
  return rows;
}

int64_t integer_or(const Gguf& gguf, const std::string& key, int64_t max, int64_t otherwise) {
  return gguf.has(key) ? gguf.integer(key, 1, max) : otherwise;
}

ModelConfig read_config(const Gguf& gguf) {
  check_architecture(gguf);
  ModelConfig c;
  c.architecture = "llama";
  c.hidden_size = gguf.integer("llama.embedding_length", 1, ModelLimits::width);
  c.num_hidden_layers = gguf.integer("llama.block_count", 1, ModelLimits::layers);
  c.intermediate_size = gguf.integer("llama.feed_forward_length", 1, ModelLimits::width);
  c.num_attention_heads = gguf.integer("llama.attention.head_count", 1, ModelLimits::heads);
  c.num_key_value_heads =
      integer_or(gguf, "llama.attention.head_count_kv", ModelLimits::heads, c.num_attention_heads);
  c.head_dim = integer_or(gguf, "llama.attention.key_length", ModelLimits::head_dim,
                          c.hidden_size / c.num_attention_heads);
  for (const char* key : {"llama.attention.value_length", "llama.rope.dimension_count"}) {
    if (gguf.has(key)) gguf.integer(key, c.head_dim, c.head_dim);
  }
  c.max_position_embeddings = gguf.integer("llama.context_length", 1, ModelLimits::positions);
  c.rms_norm_eps = static_cast<float>(gguf.number("llama.attention.layer_norm_rms_epsilon"));
  if (gguf.has("llama.rope.freq_base"))
    c.rope_theta = static_cast<float>(gguf.number("llama.rope.freq_base"));
  if (gguf.has("llama.attention.sliding_window")) {
    const int64_t window = gguf.integer("llama.attention.sliding_window", 0, ModelLimits::positions);
    if (window > 0) c.sliding_window = window;
  }
  c.vocab_size = vocabulary_size(gguf);
  c.tie_word_embeddings = !gguf.tensors.contains(std::string(kNames.lm_head));
  c.rope_factors = read_rope_factors(gguf, c.head_dim);
  check_config(c, gguf.file);
  return c;
}

}  // namespace

ModelFiles open_gguf_model(const std::filesystem::path& path) {
  ModelFiles model;
  model.path = path.string();
  model.names = kNames;
  model.interleaved_heads = true;
  model.files.emplace_back(path, ExitCode::model);
  const Gguf gguf = parse_gguf(model.files.front().bytes(), model.path);
  model.config = read_config(gguf);
  for (const auto& [name, entry] : gguf.tensors) model.tensors.emplace(name, ModelTensor{model.path, entry});
  return model;
}

}  // namespace gorgon
