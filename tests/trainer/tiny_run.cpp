#include "tests/trainer/tiny_run.h"

#include <fstream>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "data/file.h"
#include "data/safetensors.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kHidden = 32, kIntermediate = 48, kVocabulary = 536, kKeyValue = 16;

// Weights of one tensor: a linear congruential generator (Knuth's MMIX constants), scaled to +-0.3.
std::vector<float> random_values(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  uint64_t state = seed * 2654435761u + 1;
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = (static_cast<float>(state >> 40) / 8388608.0f - 1.0f) * 0.3f;
  }
  return values;
}

class Weights {
 public:
  void add(const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    auto values = random_values(count, names_.size() + 1);
    if (shape.size() == 1) {
      for (float& value : values) value += 1.0f;  // of norms
    }
    names_.push_back(name);
    shapes_.push_back(std::move(shape));
    values_.push_back(std::move(values));
  }
  void write(const fs::path& path) const {
    std::vector<SafetensorsOutput> outputs;
    for (size_t i = 0; i < names_.size(); ++i) {
      outputs.push_back(
          {names_[i], DType::f32, shapes_[i], [this, i] { return std::as_bytes(std::span(values_[i])); }});
    }
    write_safetensors(path, outputs, {{"format", "pt"}});
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::vector<int64_t>> shapes_;
  std::vector<std::vector<float>> values_;
};

void write_weights(const fs::path& path) {
  Weights weights;
  weights.add("model.embed_tokens.weight", {kVocabulary, kHidden});
  for (int layer = 0; layer < 2; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    weights.add(at + "input_layernorm.weight", {kHidden});
    weights.add(at + "self_attn.q_proj.weight", {kHidden, kHidden});
    weights.add(at + "self_attn.k_proj.weight", {kKeyValue, kHidden});
    weights.add(at + "self_attn.v_proj.weight", {kKeyValue, kHidden});
    weights.add(at + "self_attn.o_proj.weight", {kHidden, kHidden});
    weights.add(at + "post_attention_layernorm.weight", {kHidden});
    weights.add(at + "mlp.gate_proj.weight", {kIntermediate, kHidden});
    weights.add(at + "mlp.up_proj.weight", {kIntermediate, kHidden});
    weights.add(at + "mlp.down_proj.weight", {kHidden, kIntermediate});
  }
  weights.add("model.norm.weight", {kHidden});
  weights.add("lm_head.weight", {kVocabulary, kHidden});
  weights.write(path);
}

void write_model(const fs::path& folder) {
  fs::create_directories(folder);
  write_weights(folder / "model.safetensors");
  std::ofstream(folder / "config.json")
      << fmt::format(R"({{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": {},
 "intermediate_size": {}, "vocab_size": {}, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "head_dim": 8, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 5000.0, "hidden_act": "silu",
 "tie_word_embeddings": false}})",
                     kHidden, kIntermediate, kVocabulary);
  fs::copy_file(GORGON_TEST_DATA "/tokenizer/smollm/tokenizer.json", folder / "tokenizer.json");
  std::ofstream(folder / "tokenizer_config.json") << R"({"eos_token": "<|im_end|>", "chat_template":
 "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"})";
}

}  // namespace

std::string tiny_chats(int first, int count) {
  const char* things[] = {"stars", "rows of a table", "rivers", "names", "dates"};
  std::string text;
  for (int i = first; i < first + count; ++i) {
    text += fmt::format(
        R"({{"messages": [{{"role": "user", "content": "How many {} are {}?"}}, {{"role": "assistant", "content": "There are {} {}."}}]}})"
        "\n",
        things[i % 5], i, int64_t{i} * i, things[i % 5]);
  }
  return text;
}

void write_final_norm(const fs::path& folder, float value) {
  const fs::path file = folder / "model/model.safetensors";
  std::streamoff at = 0;
  size_t count = 0;
  {
    const MappedFile mapped(file, ExitCode::model);
    const Safetensors model = parse_safetensors(mapped.bytes(), file.string());
    const auto bytes = model.tensors.at("model.norm.weight").bytes;
    at = bytes.data() - mapped.bytes().data();
    count = bytes.size() / sizeof(float);
  }
  const std::vector<float> values(count, value);
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  out.seekp(at).write(reinterpret_cast<const char*>(values.data()),
                      static_cast<std::streamsize>(count * sizeof(float)));
}

void write_tiny_run(const fs::path& folder) {
  write_model(folder / "model");
  std::ofstream(folder / "train.jsonl") << tiny_chats(0, 60);
  std::ofstream(folder / "eval.jsonl") << tiny_chats(1000, 6);
  const std::string at = folder.string();
  std::ofstream(folder / "run.yaml") << fmt::format(
      "model_path: {}/model\ntrain_dataset_path: {}/train.jsonl\neval_dataset_path: "
      "{}/eval.jsonl\noutput_dir: {}/run\n"
      "max_seq_length: 64\nmedusa_num_heads: 2\nper_device_train_batch_size: 2\ngradient_accumulation_steps: "
      "2\n"
      "max_steps: 8\nlearning_rate: 1e-2\nlr_scheduler_type: cosine\nwarmup_steps: 2\nlogging_steps: "
      "1\neval_steps: 2\n"
      "save_steps: 1\nsave_total_limit: 0\n",
      at, at, at, at);
}

}  // namespace gorgon
