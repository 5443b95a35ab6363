#include "trainer/heads_file.h"

#include <algorithm>
#include <memory>
#include <span>

#include <nlohmann/json.hpp>

#include "data/safetensors.h"

namespace gorgon {
namespace {

constexpr const char* kVocabIds = "vocab_ids";  // i32[N] of a pruned vocabulary

std::vector<int64_t> dimensions(const Shape& shape) {
  std::vector<int64_t> out;
  for (int i = 0; i < shape.rank(); ++i) out.push_back(shape[i]);
  return out;
}

std::string to_string(DType type, const std::vector<int64_t>& shape) {
  std::string text = std::string(name(type)) + " [";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Bytes of a view on the host: the view's own, or a copy that lives until the next tensor is asked for.
std::span<const std::byte> host_bytes(ConstView view, Tensor& copy) {
  const int64_t bytes = bytes_of(view.type, view.elements());
  if (view.device.kind == DeviceKind::cpu) return {view.data, static_cast<size_t>(bytes)};
  copy = Tensor(view.type, view.shape);
  copy_bytes(Device{}, copy.data(), view.device, view.data, bytes);
  return {copy.data(), static_cast<size_t>(bytes)};
}

using NamedViews = std::vector<HeadTrainer::NamedState>;

NamedViews views_of(MedusaHeads& heads) {
  NamedViews views = head_states(heads);
  if (heads.vocab_ids.empty()) return views;
  const auto bytes = std::as_writable_bytes(std::span(heads.vocab_ids));
  views.push_back({kVocabIds, {bytes.data(), DType::i32, {std::ssize(heads.vocab_ids)}, Device{}, 0}});
  return views;
}

void save_views(const std::filesystem::path& path, const NamedViews& views,
                const std::map<std::string, std::string>& metadata) {
  const auto copy = std::make_shared<Tensor>();
  std::vector<SafetensorsOutput> outputs;
  for (const auto& [name, view] : views) {
    outputs.push_back(
        {name, view.type, dimensions(view.shape), [view = view, copy] { return host_bytes(view, *copy); }});
  }
  write_safetensors(path, outputs, metadata);
}

void load_views(const std::filesystem::path& path, const NamedViews& views) {
  const MappedFile file(path, ExitCode::checkpoint);
  const Safetensors found = parse_safetensors(file.bytes(), path.string(), ExitCode::checkpoint);
  for (const auto& [name, view] : views) {
    const std::string expected = to_string(view.type, dimensions(view.shape));
    const auto entry = found.tensors.find(name);
    if (entry == found.tensors.end())
      fail(ExitCode::checkpoint, {path.string(), name, expected, "no such tensor", ""});
    const std::string there = to_string(entry->second.type, entry->second.shape);
    if (there != expected) fail(ExitCode::checkpoint, {path.string(), name, expected, there, ""});
  }
  if (found.tensors.size() != views.size()) {
    fail(ExitCode::checkpoint, {path.string(), "", std::to_string(views.size()) + " tensors",
                                std::to_string(found.tensors.size()), ""});
  }
  for (const auto& [name, view] : views) {
    const auto& bytes = found.tensors.at(name).bytes;
    copy_bytes(view.device, view.data, Device{}, bytes.data(), static_cast<int64_t>(bytes.size()));
  }
}

// The form of heads, as the keys that choose it say it.
struct HeadForm {
  std::string linear, rank, vocabulary;
};

HeadForm form_of(const MedusaHeads& heads) {
  HeadForm form{"own", "", "full"};
  if (heads.options.linear == HeadLinear::shared) form.linear = "shared";
  if (heads.options.linear == HeadLinear::lowrank) {
    form.linear = "lowrank";
    form.rank = std::to_string(heads.options.rank);
  }
  if (!heads.vocab_ids.empty()) form.vocabulary = std::to_string(heads.vocab_ids.size());
  return form;
}

HeadForm form_of(const Safetensors& found) {
  HeadForm form{"shared", "", "full"};
  for (const auto& [name, tensor] : found.tensors) {
    const bool is_b = name.ends_with(".B") && tensor.shape.size() == 2;
    if (is_b) form = {"lowrank", std::to_string(tensor.shape[1]), form.vocabulary};
    if (name.ends_with(".weight") && !name.ends_with(".linear.weight")) form.linear = "own";
    if (name == kVocabIds && tensor.shape.size() == 1) form.vocabulary = std::to_string(tensor.shape[0]);
  }
  return form;
}

// One line for heads of another form, where a missing tensor would say little.
void check_form(const std::filesystem::path& path, const Safetensors& found, const MedusaHeads& heads) {
  const auto check = [&](const char* key, const std::string& expected, const std::string& there) {
    if (expected == there) return;
    fail(ExitCode::checkpoint, {path.string(), key, expected, there, "these heads are of another form"});
  };
  const HeadForm expected = form_of(heads), there = form_of(found);
  check("medusa_head_linear", expected.linear, there.linear);
  check("medusa_head_rank", expected.rank, there.rank);
  check("medusa_vocab", expected.vocabulary, there.vocabulary);
  if (heads.vocab_ids.empty()) return;
  const auto& ids = found.tensors.at(kVocabIds);
  const auto own = std::as_bytes(std::span(heads.vocab_ids));
  if (ids.type != DType::i32 || !std::equal(own.begin(), own.end(), ids.bytes.begin(), ids.bytes.end())) {
    fail(ExitCode::checkpoint, {path.string(), kVocabIds, "the tokens that this run's data came to", "others",
                                "these heads are of other data"});
  }
}

}  // namespace

std::vector<HeadTrainer::NamedState> head_states(MedusaHeads& heads) {
  NamedViews views;
  for (const NamedParameter& parameter : parameters(heads)) views.push_back({parameter.name, parameter.view});
  return views;
}

void save_heads(const std::filesystem::path& path, MedusaHeads& heads,
                const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> all = metadata;
  all["format"] = "pt";
  save_views(path, views_of(heads), all);
}

void load_heads(const std::filesystem::path& path, MedusaHeads& heads) {
  {
    const MappedFile file(path, ExitCode::checkpoint);
    check_form(path, parse_safetensors(file.bytes(), path.string(), ExitCode::checkpoint), heads);
  }
  load_views(path, views_of(heads));
}

void save_optimizer(const std::filesystem::path& path, const NamedViews& states) {
  save_views(path, states, {});
}

void load_optimizer(const std::filesystem::path& path, const NamedViews& states) {
  load_views(path, states);
}

std::string heads_config_json(const MedusaOptions& options, const ModelConfig& model,
                              const std::string& base_model, DType type) {
  nlohmann::ordered_json json;
  json["model_type"] = "medusa";
  json["hidden_size"] = model.hidden_size;
  json["vocab_size"] = model.vocab_size;
  json["truncated_vocab_size"] = model.vocab_size;
  json["medusa_num_heads"] = options.num_heads;
  json["num_medusa_heads"] = options.num_heads;
  json["medusa_num_layers"] = options.num_layers;
  json["medusa_fc_bias"] = true;
  json["base_model_name_or_path"] = base_model;
  json["version"] = "1";
  json["torch_dtype"] = type == DType::bf16 ? "bfloat16" : "float32";
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace gorgon
