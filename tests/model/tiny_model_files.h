#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/file.h"
#include "data/json.h"
#include "tests/data/container_bytes.h"

namespace gorgon {

struct GgufBlocks {
  uint32_t type;  // GGUF's number
  std::string bytes;
};

// A Llama of one layer as GGUF, to be changed key by key and tensor by tensor: hidden 4, heads 2 of 2, one
// key head, intermediate 6, vocabulary 5, tied.
struct TinyGguf {
  std::map<std::string, std::string> keys;              // encoded
  std::map<std::string, std::vector<int64_t>> tensors;  // outermost first, f32
  std::map<std::string, std::vector<float>> values;     // where not 0.5 everywhere
  std::map<std::string, GgufBlocks> blocks;             // instead of f32

  TinyGguf() {
    set(gguf_string("general.architecture", "llama"), "general.architecture");
    for (const auto& [key, value] : std::map<std::string, uint32_t>{{"block_count", 1},
                                                                    {"context_length", 16},
                                                                    {"embedding_length", 4},
                                                                    {"feed_forward_length", 6},
                                                                    {"attention.head_count", 2},
                                                                    {"attention.head_count_kv", 1}}) {
      set_u32("llama." + key, value);
    }
    const std::string epsilon = "llama.attention.layer_norm_rms_epsilon";
    set(gguf_key(epsilon, kGgufF32, raw(1e-5f)), epsilon);
    tensors = {{"token_embd.weight", {5, 4}},        {"output_norm.weight", {4}},
               {"blk.0.attn_norm.weight", {4}},      {"blk.0.attn_q.weight", {4, 4}},
               {"blk.0.attn_k.weight", {2, 4}},      {"blk.0.attn_v.weight", {2, 4}},
               {"blk.0.attn_output.weight", {4, 4}}, {"blk.0.ffn_norm.weight", {4}},
               {"blk.0.ffn_gate.weight", {6, 4}},    {"blk.0.ffn_up.weight", {6, 4}},
               {"blk.0.ffn_down.weight", {4, 6}}};
  }

  void set(const std::string& encoded, const std::string& key) { keys[key] = encoded; }
  void set_u32(const std::string& key, uint32_t value) { set(gguf_u32(key, value), key); }
  void set_f32(const std::string& key, float value) { set(gguf_key(key, kGgufF32, raw(value)), key); }
  void set_string(const std::string& key, const std::string& value) { set(gguf_string(key, value), key); }

  std::string bytes() const {
    GgufFile file;
    for (const auto& [key, encoded] : keys) file.keys.push_back(encoded);
    for (const auto& [name, shape] : tensors) {
      const auto stored = blocks.find(name);
      const uint32_t type = stored == blocks.end() ? 0 : stored->second.type;
      file.tensors.push_back(gguf_tensor(name, {shape.rbegin(), shape.rend()}, type, file.data.size()));
      if (stored != blocks.end()) {
        file.data += stored->second.bytes;
        file.data.resize((file.data.size() + 31) / 32 * 32, '\0');
        continue;
      }
      size_t count = 1;
      for (const int64_t d : shape) count *= static_cast<size_t>(d);
      const auto given = values.find(name);
      for (size_t i = 0; i < count; ++i) file.data += raw(given == values.end() ? 0.5f : given->second.at(i));
      file.data.resize((file.data.size() + 31) / 32 * 32, '\0');
    }
    return file.bytes();
  }

  std::filesystem::path write(const std::filesystem::path& directory) const {
    const auto path = directory / "tiny.gguf";
    write_atomically(path, bytes());
    return path;
  }
};

// A copy of a golden Hugging Face directory, its config.json changed.
inline std::filesystem::path copy_model(const std::string& golden, const std::filesystem::path& directory,
                                        const std::function<void(Json&)>& change = {}) {
  const auto to = directory / golden;
  std::filesystem::copy(std::filesystem::path(GORGON_TEST_DATA "/containers") / golden, to);
  if (change) {
    Json config = Json::parse(read_text(to / "config.json", ExitCode::model));
    change(config);
    write_atomically(to / "config.json", config.dump());
  }
  return to;
}

}  // namespace gorgon
