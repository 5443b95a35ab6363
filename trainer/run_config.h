#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.h"
#include "kernels/quantise.h"
#include "model/medusa_heads.h"
#include "optim/options.h"
#include "trainer/head_trainer.h"
#include "trainer/yaml_document.h"

namespace gorgon {

enum class Strategy { no, steps, epoch };
// Where the states of training come from: the backbone in every step (off), or a cache on disk.
enum class StateCache { automatic, off, f32, bf16 };
enum class RowOrder { document, rows };
enum class PackingStrategy { wrapped };
enum class ReportTo { none, tensorboard };
// How several ranks share the heads: each holds all of them, or a part of every one.
enum class ParallelHeads { automatic, replicate, vocab };

// A data file with the name it has in metrics ("eval" for a single one, else its key or its file name).
struct NamedPath {
  std::string name;
  std::string path;
  friend bool operator==(const NamedPath&, const NamedPath&) = default;
};

// A training run as its YAML file says it. Every member is one key of configs/README.md, which tells meaning,
// unit and range; names, order and defaults are the same. Paths are relative to the working directory.
struct RunConfig {
  std::string model_path;
  std::vector<std::string> train_dataset_path;
  std::vector<NamedPath> eval_dataset_path;
  std::map<std::string, std::string> columns;  // field of a row -> its name in the data
  std::string output_dir;
  int64_t max_seq_length = 2048;
  bool packing = true;
  PackingStrategy packing_strategy = PackingStrategy::wrapped;
  std::optional<bool> assistant_only_loss;  // unset ("auto"): true for chats, false for text
  MedusaOptions heads;
  LossOptions loss;
  std::vector<double> medusa_lr_multiplier = {1.0};  // one for all heads, or one per head
  double num_train_epochs = 3.0;
  int64_t max_steps = -1;
  int64_t per_device_train_batch_size = 1;
  int64_t per_device_eval_batch_size = 8;
  int64_t gradient_accumulation_steps = 1;
  int64_t global_batch_size = 0;  // 0 = per_device_train_batch_size * gradient_accumulation_steps
  StateCache state_cache = StateCache::automatic;
  RowOrder order = RowOrder::document;
  bool shuffle = true;
  int64_t seed = 42;
  LrOptions lr;
  OptimizerOptions optimizer;
  double vocab_gradient_filter = 0;  // 0 = off
  bool bf16 = true;
  bool tf32 = false;
  bool fp8 = false;
  bool load_in_4bit = false;
  bool load_in_8bit = false;
  bool bnb_4bit_use_double_quant = true;
  int64_t logging_steps = 10;
  int64_t eval_steps = 0;
  int64_t save_steps = 0;
  Strategy logging_strategy = Strategy::steps;
  Strategy eval_strategy = Strategy::steps;
  Strategy save_strategy = Strategy::steps;
  int64_t save_total_limit = 2;
  std::string metric_for_best_model = "eval_accept_length";
  bool load_best_model_at_end = false;
  int64_t early_stopping_patience = 0;
  ReportTo report_to = ReportTo::tensorboard;
  std::string device = "auto";
  bool overlap_backbone = false;
  ParallelHeads parallel_heads = ParallelHeads::automatic;
  int64_t ddp_timeout = 600;  // seconds
  int64_t max_run_time = 0;   // seconds; 0 = off

  // What follows from several keys.
  int64_t global_batch() const;  // sequences per optimizer step
  DType compute() const { return bf16 ? DType::bf16 : DType::f32; }
  Quantisation quantisation() const;           // of the backbone
  std::vector<double> lr_multipliers() const;  // [K]
  // Optimizer steps of the whole run, for a number of sequences.
  int64_t steps_per_epoch(int64_t sequences) const;
  int64_t resolved_max_steps(int64_t sequences) const;
};

// One key: what parses, prints, compares, saves and documents it.
struct ConfigField {
  std::string name;
  std::vector<std::string> aliases;
  std::string type;     // for people: "int, 1 to 64"
  std::string meaning;  // with the unit
  bool shapes_result;   // a run resumes only with an equal value
  std::function<void(RunConfig&, const YamlValue&)> parse;
  std::function<std::string(const RunConfig&)> print;  // the value as YAML
};

// The field list, in the order of the documentation.
const std::vector<ConfigField>& config_fields();

// A config with what is worth telling the user once.
struct LoadedConfig {
  RunConfig config;
  std::vector<std::string> notes;  // keys without an effect, a recipe that is known to undertrain
};

// Reads a YAML file, then `overrides` ("key=value", the value in YAML) over it. Throws Error(config), one
// line with FILE:LINE:COL, key, what was expected, what was found.
LoadedConfig load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides);
LoadedConfig parse_config(std::string_view text, const std::string& file,
                          const std::vector<std::string>& overrides);

std::string to_yaml(const RunConfig& config);  // every key; load_config gives the same config back
// Keys whose values must be equal for a run to go on and are not: "learning_rate: 0.001 -> 0.002".
std::vector<std::string> differing_keys(const RunConfig& saved, const RunConfig& now);
std::string config_key_table();  // Markdown, for configs/README.md

}  // namespace gorgon
