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

using NamedViews = std::vector<NamedState>;

NamedViews views_of(MedusaHeads& heads) {
  NamedViews views = head_states(heads);
  if (heads.vocab_ids.empty()) return views;
  const auto bytes = std::as_writable_bytes(std::span(heads.vocab_ids));
  const Shape shape{std::ssize(heads.vocab_ids)};
  views.push_back({kVocabIds, {bytes.data(), DType::i32, shape, Device{}, 0}, shape, {}});
  return views;
}

void save_views(const std::filesystem::path& path, const NamedViews& views,
                const std::map<std::string, std::string>& metadata, const GatherState& gather) {
  const auto copy = std::make_shared<Tensor>();
  std::vector<SafetensorsOutput> outputs;
  for (const NamedState& state : views) {
    outputs.push_back({state.name, state.view.type, dimensions(state.whole), [&state, &gather, copy] {
                         return host_bytes(gather ? gather(state) : state.view, *copy);
                       }});
  }
  write_safetensors(path, outputs, metadata);
}

void check_views(const std::string& path, const Safetensors& found, const NamedViews& views) {
  for (const NamedState& state : views) {
    const std::string expected = to_string(state.view.type, dimensions(state.whole));
    const auto entry = found.tensors.find(state.name);
    if (entry == found.tensors.end())
      fail(ExitCode::checkpoint, {path, state.name, expected, "no such tensor", ""});
    const std::string there = to_string(entry->second.type, entry->second.shape);
    if (there != expected) fail(ExitCode::checkpoint, {path, state.name, expected, there, ""});
  }
  if (found.tensors.size() != views.size()) {
    fail(ExitCode::checkpoint,
         {path, "", std::to_string(views.size()) + " tensors", std::to_string(found.tensors.size()), ""});
  }
}

void place_views(const Safetensors& found, const NamedViews& views, const PlaceState& place) {
  for (const NamedState& state : views) {
    const auto& bytes = found.tensors.at(state.name).bytes;
    if (place) {
      place(state, bytes.data());
    } else {
      copy_bytes(state.view.device, state.view.data, Device{}, bytes.data(),
                 static_cast<int64_t>(bytes.size()));
    }
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

std::vector<NamedState> head_states(MedusaHeads& heads) {
  NamedViews views;
  for (const NamedParameter& p : parameters(heads)) {
    NamedState state{p.name, p.view, p.view.shape, {}};
    if (!p.bounds.empty()) {
      state.whole = {p.bounds.back(), p.view.shape[1]};
      state.counts = counts_of(p.bounds, p.view.shape[1]);
    }
    views.push_back(std::move(state));
  }
  return views;
}

void save_heads(const std::filesystem::path& path, MedusaHeads& heads,
                const std::map<std::string, std::string>& metadata, const GatherState& gather) {
  std::map<std::string, std::string> all = metadata;
  all["format"] = "pt";
  save_views(path, views_of(heads), all, gather);
}

void load_heads(const std::filesystem::path& path, MedusaHeads& heads, const PlaceState& place) {
  const MappedFile file(path, ExitCode::checkpoint);
  const Safetensors found = parse_safetensors(file.bytes(), path.string(), ExitCode::checkpoint);
  check_form(path, found, heads);
  check_views(path.string(), found, views_of(heads));
  place_views(found, head_states(heads), place);  // the ids are equal already
}

void save_optimizer(const std::filesystem::path& path, const NamedViews& states, const GatherState& gather) {
  save_views(path, states, {}, gather);
}

void load_optimizer(const std::filesystem::path& path, const NamedViews& states, const PlaceState& place) {
  const MappedFile file(path, ExitCode::checkpoint);
  const Safetensors found = parse_safetensors(file.bytes(), path.string(), ExitCode::checkpoint);
  check_views(path.string(), found, states);
  place_views(found, states, place);
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
