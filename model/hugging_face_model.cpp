// A Hugging Face directory: config.json and model.safetensors, or model.safetensors.index.json and its
// shards.
#include <set>

#include "data/json.h"
#include "model/model_files.h"

namespace gorgon {

namespace {

constexpr TensorNames kNames = {.token_embedding = "model.embed_tokens.weight",
                                .final_norm = "model.norm.weight",
                                .lm_head = "lm_head.weight",
                                .layer_prefix = "model.layers.",
                                .attention_norm = "input_layernorm.weight",
                                .query = "self_attn.q_proj.weight",
                                .key = "self_attn.k_proj.weight",
                                .value = "self_attn.v_proj.weight",
                                .attention_output = "self_attn.o_proj.weight",
                                .feed_forward_norm = "post_attention_layernorm.weight",
                                .gate = "mlp.gate_proj.weight",
                                .up = "mlp.up_proj.weight",
                                .down = "mlp.down_proj.weight",
                                .ignored_suffix = "rotary_emb.inv_freq"};

using WeightMap = std::map<std::string, std::string>;  // tensor -> file name

bool is_file(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

// A shard lies in the directory itself: anything else would read what the model does not own.
void check_shard_name(const std::string& index, const std::string& tensor, const std::string& name) {
  const bool plain = !name.empty() && name.find('/') == std::string::npos &&
                     name.find('\\') == std::string::npos && name != "." && name != "..";
  if (!plain) {
    fail(ExitCode::model, {index, quote_value(tensor), "the name of a file in the same directory",
                           quote_value(name), "the path is refused"});
  }
}

WeightMap read_index(const std::filesystem::path& path) {
  const JsonOptions options{.file = path.string(),
                            .code = ExitCode::model,
                            .max_values = ModelLimits::json_values,
                            .reject_duplicate_keys = true};
  const Json json = parse_json(read_text(path, ExitCode::model, ModelLimits::json_bytes), options);
  const auto weight_map = json.is_object() ? json.find("weight_map") : json.end();
  if (weight_map == json.end() || !weight_map->is_object()) {
    fail(ExitCode::model, {options.file, "weight_map", "an object of tensor names and files", "none", ""});
  }
  WeightMap files;
  for (const auto& [tensor, file] : weight_map->items()) {
    if (!file.is_string()) {
      fail(ExitCode::model, {options.file, quote_value(tensor), "a file name", file.type_name(), ""});
    }
    check_shard_name(options.file, tensor, file.get<std::string>());
    files.emplace(tensor, file.get<std::string>());
  }
  return files;
}

void check_shards(const std::filesystem::path& directory, const std::set<std::string>& shards) {
  constexpr size_t kNamed = 5;
  size_t missing = 0;
  std::string names;
  for (const std::string& shard : shards) {
    if (is_file(directory / shard)) continue;
    if (++missing <= kNamed) names += (missing == 1 ? "" : ", ") + quote_value(shard);
  }
  if (missing == 0) return;
  fail(ExitCode::model,
       {directory.string(), "model.safetensors.index.json", std::to_string(shards.size()) + " shards",
        std::to_string(missing) + " of them missing: " + names + (missing > kNamed ? ", ..." : ""),
        "fetch the missing files"});
}

void add_file(const std::filesystem::path& path, ModelFiles& model) {
  model.files.emplace_back(path, ExitCode::model);
  const std::string file = path.string();
  for (const auto& [name, entry] : parse_safetensors(model.files.back().bytes(), file).tensors) {
    const auto [place, added] = model.tensors.emplace(name, ModelTensor{file, entry});
    if (!added) {
      fail(ExitCode::model, {file, quote_value(name), "every tensor in one shard",
                             "a duplicate of the one in " + place->second.file, ""});
    }
  }
}

void add_shards(const std::filesystem::path& directory, const std::filesystem::path& index,
                ModelFiles& model) {
  const WeightMap weight_map = read_index(index);
  std::set<std::string> shards;
  for (const auto& [tensor, file] : weight_map) shards.insert(file);
  check_shards(directory, shards);
  for (const std::string& shard : shards) add_file(directory / shard, model);
  for (const auto& [tensor, file] : weight_map) {
    const auto found = model.tensors.find(tensor);
    if (found == model.tensors.end() || found->second.file != (directory / file).string()) {
      fail(ExitCode::model, {index.string(), quote_value(tensor), "the tensor in " + quote_value(file),
                             found == model.tensors.end() ? "no such tensor" : "it in " + found->second.file,
                             "fetch the model again"});
    }
  }
}

}  // namespace

ModelFiles open_hugging_face_model(const std::filesystem::path& directory) {
  ModelFiles model;
  model.path = directory.string();
  model.names = kNames;
  model.config = read_hugging_face_config(directory);
  const std::filesystem::path single = directory / "model.safetensors";
  const std::filesystem::path index = directory / "model.safetensors.index.json";
  if (is_file(single)) {
    add_file(single, model);
  } else if (is_file(index)) {
    add_shards(directory, index, model);
  } else {
    fail(ExitCode::model,
         {single.string(), "", "the file, or model.safetensors.index.json and its shards", "neither",
          is_file(directory / "pytorch_model.bin") || is_file(directory / "pytorch_model.bin.index.json")
              ? "convert pytorch_model.bin with save_pretrained(safe_serialization=True)"
              : "check that the model is complete"});
  }
  return model;
}

}  // namespace gorgon
