#include "trainer/run_config.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "data/file.h"
#include "kernels/error.h"
#include "trainer/config_value.h"
#include "trainer/model_choice.h"

namespace gorgon {
namespace {

// Keys of other trainers that have no effect here; accepted, so that their files run unchanged.
const std::vector<std::string>& keys_without_effect() {
  static const std::vector<std::string> keys = {"gradient_checkpointing",
                                                "gradient_checkpointing_kwargs",
                                                "use_cache",
                                                "ddp_find_unused_parameters",
                                                "dataloader_num_workers",
                                                "remove_unused_columns",
                                                "push_to_hub",
                                                "attn_implementation",
                                                "bnb_4bit_compute_dtype",
                                                "logging_dir"};
  return keys;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

const ConfigField* find_field(const std::string& key) {
  for (const ConfigField& field : config_fields()) {
    if (field.name == key || contains(field.aliases, key)) return &field;
  }
  return nullptr;
}

[[noreturn]] void refuse_key(const std::string& key, const std::string& place) {
  std::vector<std::string> known;
  for (const ConfigField& field : config_fields()) {
    known.push_back(field.name);
    known.insert(known.end(), field.aliases.begin(), field.aliases.end());
  }
  const std::string nearest = nearest_name(key, known);
  fail(ExitCode::config,
       {place, "", "a known key", quote_value(key),
        nearest.empty() ? "configs/README.md lists all keys" : "did you mean " + nearest + "?"});
}

// Reads entries into a config and remembers where every key came from.
class Reader {
 public:
  LoadedConfig result;

  void read(const std::string& key, const YamlValue& value) {
    if (contains(keys_without_effect(), key)) {
      if (key == "push_to_hub" && config_bool(value, key)) {
        config_fail(value, key, "false", "gorgon uploads nothing");
      }
      idle_.push_back(key);
      return;
    }
    const ConfigField* field = find_field(key);
    if (field == nullptr) refuse_key(key, value.place);
    if (value.kind == YamlValue::Kind::null) {
      if (overriding_) config_fail(value, key, "a value");
      return;  // as in Hugging Face: the default
    }
    const auto earlier = seen_.find(field->name);
    const std::string before = field->print(result.config);
    field->parse(result.config, value);
    if (earlier != seen_.end() && !overriding_ && field->print(result.config) != before) {
      fail(ExitCode::config, {value.place, key,
                              "the value of " + earlier->second.key + " in line " +
                                  std::to_string(earlier->second.line) + ", " + before,
                              field->print(result.config), "both are names of " + field->name});
    }
    seen_[field->name] = {key, value.place, value.line};
  }

  void begin_overrides() { overriding_ = true; }
  void finish(const std::string& file);

 private:
  struct Origin {
    std::string key, place;
    long line = 0;
  };

  std::string place(const std::string& key, const std::string& file) const {
    const auto found = seen_.find(key);
    return found == seen_.end() ? file : found->second.place;
  }
  void require_key(const std::string& key, bool present, const std::string& file) const {
    if (present) return;
    fail(ExitCode::config, {file, key, "a value", "none", "add a line `" + key + ": ...`"});
  }
  [[noreturn]] void contradict(const std::string& file, const std::string& key, const std::string& other,
                               const std::string& remedy) const;
  void check_heads(const std::string& file) const;
  void check_cache(const std::string& file) const;
  void check_evaluation(const std::string& file) const;
  void check_best_model(const std::string& file) const;
  void note_recipe();

  std::map<std::string, Origin> seen_;
  std::vector<std::string> idle_;
  bool overriding_ = false;
};

std::string printed(const RunConfig& config, const std::string& key) {
  return find_field(key)->print(config);
}

void Reader::contradict(const std::string& file, const std::string& key, const std::string& other,
                        const std::string& remedy) const {
  const std::string other_value = printed(result.config, other);
  fail(ExitCode::config, {place(key, file), key,
                          "a value that fits " + other + ": " + (other_value.empty() ? "none" : other_value),
                          printed(result.config, key), remedy});
}

void Reader::check_heads(const std::string& file) const {
  const RunConfig& c = result.config;
  const size_t factors = c.medusa_lr_multiplier.size();
  if (factors != 1 && factors != static_cast<size_t>(c.heads.num_heads)) {
    contradict(file, "medusa_lr_multiplier", "medusa_num_heads", "give one factor, or one per head");
  }
  if (c.load_in_8bit && c.load_in_4bit)
    contradict(file, "load_in_8bit", "load_in_4bit", "choose one of them");
  if (c.fp8 && (c.load_in_8bit || c.load_in_4bit))
    contradict(file, "fp8", c.load_in_8bit ? "load_in_8bit" : "load_in_4bit", "choose one of them");
  if (c.fp8 && !c.bf16) contradict(file, "fp8", "bf16", "set bf16: true, or take fp8 out");
  if (c.max_steps <= 0 && c.num_train_epochs <= 0) {
    contradict(file, "max_steps", "num_train_epochs", "there would be no step to train");
  }
}

void Reader::check_cache(const std::string& file) const {
  if (result.config.order == RowOrder::rows && result.config.state_cache == StateCache::off) {
    contradict(file, "order", "state_cache", "rows in an order of their own come from a cache");
  }
}

void Reader::check_evaluation(const std::string& file) const {
  const RunConfig& c = result.config;
  if (!c.eval_dataset_path.empty()) return;
  const std::string remedy = "name held-out data, or take the key out";
  if (c.eval_strategy == Strategy::steps && c.eval_steps > 0)
    contradict(file, "eval_steps", "eval_dataset_path", remedy);
  if (c.eval_strategy == Strategy::epoch) contradict(file, "eval_strategy", "eval_dataset_path", remedy);
  if (c.early_stopping_patience > 0) contradict(file, "early_stopping_patience", "eval_dataset_path", remedy);
  if (c.load_best_model_at_end) contradict(file, "load_best_model_at_end", "eval_dataset_path", remedy);
}

void Reader::check_best_model(const std::string& file) const {
  const RunConfig& c = result.config;
  const std::vector<std::string> metrics = metric_names(c.eval_dataset_path);
  if (!contains(metrics, c.metric_for_best_model)) {
    const std::string nearest = nearest_name(c.metric_for_best_model, metrics);
    fail(ExitCode::config,
         {place("metric_for_best_model", file), "metric_for_best_model",
          "one of " + fmt::format("{}", fmt::join(metrics, ", ")), quote_value(c.metric_for_best_model),
          nearest.empty() ? "" : "did you mean " + nearest + "?"});
  }
  const bool evaluates =
      c.eval_strategy == Strategy::epoch || (c.eval_strategy == Strategy::steps && c.eval_steps > 0);
  const std::string remedy = "evaluate during the run";
  if (c.early_stopping_patience > 0 && !evaluates)
    contradict(file, "early_stopping_patience", "eval_steps", remedy);
  if (!c.load_best_model_at_end) return;
  if (!evaluates) contradict(file, "load_best_model_at_end", "eval_steps", remedy);
  if (c.save_strategy == Strategy::no) {
    contradict(file, "load_best_model_at_end", "save_strategy", "the best heads come from a checkpoint");
  }
}

void Reader::note_recipe() {
  const RunConfig& c = result.config;
  const bool constant =
      c.lr.scheduler == LrScheduler::constant || c.lr.scheduler == LrScheduler::constant_with_warmup;
  if (constant &&
      c.lr.learning_rate * *std::max_element(c.medusa_lr_multiplier.begin(), c.medusa_lr_multiplier.end()) <=
          2e-4) {
    result.notes.push_back(fmt::format(
        "learning_rate {} with a constant schedule is the published recipe and was measured to leave the "
        "heads undertrained; a "
        "better start: lr_scheduler_type: cosine, warmup_ratio: 0.03, learning_rate: 0.001 to 0.003",
        c.lr.learning_rate));
  }
  if (c.lr.scheduler == LrScheduler::constant && (c.lr.warmup_ratio > 0 || c.lr.warmup_steps > 0)) {
    result.notes.push_back("lr_scheduler_type constant ignores warm-up; constant_with_warmup has it");
  }
}

void Reader::finish(const std::string& file) {
  const RunConfig& c = result.config;
  require_key("model_path", !c.model_path.empty(), file);
  require_key("train_dataset_path", !c.train_dataset_path.empty(), file);
  require_key("output_dir", !c.output_dir.empty(), file);
  check_heads(file);
  check_cache(file);
  check_evaluation(file);
  check_best_model(file);
  if (!idle_.empty()) result.notes.push_back(fmt::format("no effect here: {}", fmt::join(idle_, ", ")));
  note_recipe();
}

void read_overrides(Reader& reader, const std::vector<std::string>& overrides) {
  reader.begin_overrides();
  for (const std::string& text : overrides) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      fail(ExitCode::config, {"--set", "", "KEY=VALUE", quote_value(text), ""});
    }
    const std::string key = text.substr(0, equals);
    reader.read(key, parse_yaml_value(text.substr(equals + 1), "--set", key));
  }
}

}  // namespace

Quantisation RunConfig::quantisation() const {
  if (fp8) return Quantisation::fp8;
  if (load_in_8bit) return Quantisation::int8;
  if (!load_in_4bit) return Quantisation::none;
  return bnb_4bit_use_double_quant ? Quantisation::nf4_double : Quantisation::nf4;
}

int64_t RunConfig::global_batch() const {
  return global_batch_size > 0 ? global_batch_size
                               : per_device_train_batch_size * gradient_accumulation_steps;
}

std::vector<double> RunConfig::lr_multipliers() const {
  if (medusa_lr_multiplier.size() != 1) return medusa_lr_multiplier;
  return std::vector<double>(static_cast<size_t>(heads.num_heads), medusa_lr_multiplier[0]);
}

int64_t RunConfig::steps_per_epoch(int64_t sequences) const {
  return (sequences + global_batch() - 1) / global_batch();
}

int64_t RunConfig::resolved_max_steps(int64_t sequences) const {
  if (max_steps > 0) return max_steps;
  return static_cast<int64_t>(std::ceil(num_train_epochs * static_cast<double>(steps_per_epoch(sequences))));
}

LoadedConfig parse_config(std::string_view text, const std::string& file,
                          const std::vector<std::string>& overrides) {
  Reader reader;
  const YamlValue document = parse_yaml(text, file);
  for (const auto& [key, value] : document.entries) reader.read(key, value);
  read_overrides(reader, overrides);
  reader.finish(file);
  return std::move(reader.result);
}

LoadedConfig load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  return parse_config(read_text(path, ExitCode::config), path.string(), overrides);
}

std::string to_yaml(const RunConfig& config) {
  std::string out;
  for (const ConfigField& field : config_fields()) out += field.name + ": " + field.print(config) + "\n";
  return out;
}

std::vector<std::string> differing_keys(const RunConfig& saved, const RunConfig& now) {
  std::vector<std::string> lines;
  for (const ConfigField& field : config_fields()) {
    if (field.name == "global_batch_size" && saved.global_batch() == now.global_batch()) continue;
    if (field.name == "global_batch_size") {
      lines.push_back(fmt::format("global_batch_size: {} -> {}", saved.global_batch(), now.global_batch()));
      continue;
    }
    if (!field.shapes_result || field.print(saved) == field.print(now)) continue;
    lines.push_back(field.name + ": " + field.print(saved) + " -> " + field.print(now));
  }
  return lines;
}

std::string config_key_table() {
  const RunConfig defaults;
  std::string out = "| key (aliases) | type, range | default | meaning |\n|---|---|---|---|\n";
  for (const ConfigField& field : config_fields()) {
    std::string names = "`" + field.name + "`";
    if (!field.aliases.empty()) names += fmt::format(" ({})", fmt::join(field.aliases, ", "));
    std::string value = field.print(defaults);
    if (value.empty() || value == "\"\"" || value == "[]") value = "-";
    out += "| " + names + " | " + field.type + " | " + value + " | " + field.meaning + " |\n";
  }
  return out;
}

}  // namespace gorgon
