#include "model/model_files.h"

#include <algorithm>
#include <cmath>

namespace gorgon {

namespace {

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t d : shape) text += (text.size() == 1 ? "" : ", ") + std::to_string(d);
  return text + "]";
}

using Shapes = std::map<std::string, std::vector<int64_t>>;

Shapes expected_tensors(const ModelFiles& files) {
  const ModelConfig& c = files.config;
  const TensorNames& n = files.names;
  const int64_t q = c.num_attention_heads * c.head_dim;
  const int64_t kv = c.num_key_value_heads * c.head_dim;
  const int64_t h = c.hidden_size;
  Shapes shapes;
  const auto add = [&](std::string_view name, std::vector<int64_t> shape) {
    shapes.emplace(std::string(name), std::move(shape));
  };
  add(n.token_embedding, {c.vocab_size, h});
  add(n.final_norm, {h});
  if (!c.tie_word_embeddings) add(n.lm_head, {c.vocab_size, h});
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    add(n.layer(l, n.attention_norm), {h});
    add(n.layer(l, n.query), {q, h});
    add(n.layer(l, n.key), {kv, h});
    add(n.layer(l, n.value), {kv, h});
    add(n.layer(l, n.attention_output), {h, q});
    add(n.layer(l, n.feed_forward_norm), {h});
    add(n.layer(l, n.gate), {c.intermediate_size, h});
    add(n.layer(l, n.up), {c.intermediate_size, h});
    add(n.layer(l, n.down), {h, c.intermediate_size});
  }
  return shapes;
}

bool holds_weights(DType type) {
  return type == DType::f32 || type == DType::f16 || type == DType::bf16 || is_block_quantised(type);
}

}  // namespace

void fail_architecture(const std::string& place, const std::string& key, const std::string& found) {
  fail(ExitCode::model,
       {place, key, "a supported architecture: LlamaForCausalLM, MistralForCausalLM (GGUF: llama)", found,
        "use a model of the Llama family"});
}

void check_config(const ModelConfig& c, const std::string& place) {
  const auto error = [&](const char* key, const std::string& expected, const std::string& found) {
    fail(ExitCode::model, {place, key, expected, found, ""});
  };
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    error("num_key_value_heads", "a divisor of num_attention_heads " + std::to_string(c.num_attention_heads),
          std::to_string(c.num_key_value_heads));
  }
  if (c.head_dim < 2 || c.head_dim % 2 != 0) {
    error("head_dim", "an even number from 2", std::to_string(c.head_dim));
  }
  if (!std::isfinite(c.rms_norm_eps) || c.rms_norm_eps < 0.0f) {
    error("rms_norm_eps", "a finite number from 0", std::to_string(c.rms_norm_eps));
  }
  if (!std::isfinite(c.rope_theta) || c.rope_theta <= 0.0f) {
    error("rope_theta", "a finite number above 0", std::to_string(c.rope_theta));
  }
  for (const float factor : c.rope_factors) {
    if (!std::isfinite(factor) || factor <= 0.0f) {
      error("rope scaling", "finite factors above 0", std::to_string(factor));
    }
  }
}

void check_tensors(const ModelFiles& files) {
  const Shapes expected = expected_tensors(files);
  for (const auto& [name, shape] : expected) {
    const auto found = files.tensors.find(name);
    if (found == files.tensors.end()) {
      fail(ExitCode::model, {files.path, name, "a tensor of shape " + text_of(shape), "no such tensor",
                             "check that the model is complete"});
    }
    const auto& [file, entry] = found->second;
    if (entry.shape != shape) {
      fail(ExitCode::model, {file, name, "shape " + text_of(shape), text_of(entry.shape),
                             "configuration and weights belong to different models"});
    }
    if (!holds_weights(entry.type)) {
      fail(ExitCode::model, {file, name, "weights as f32, f16, bf16 or GGUF blocks",
                             std::string(gorgon::name(entry.type)), ""});
    }
  }
  for (const auto& [name, tensor] : files.tensors) {
    const bool tied_copy = files.config.tie_word_embeddings && name == files.names.lm_head;
    if (expected.contains(name) || tied_copy || name.ends_with(files.names.ignored_suffix)) continue;
    fail(ExitCode::model, {tensor.file, quote_value(name), "the tensors of a Llama or Mistral model alone",
                           "one more", "a model with biases, experts or adapters is not supported"});
  }
}

}  // namespace gorgon
