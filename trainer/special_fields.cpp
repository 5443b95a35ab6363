#include "trainer/special_fields.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "data/conversations.h"
#include "kernels/error.h"
#include "trainer/config_value.h"

namespace gorgon::config_field {
namespace {

std::string yaml_list(const std::vector<std::string>& items) {
  return fmt::format("[{}]", fmt::join(items, ", "));
}

void parse_eval_paths(RunConfig& config, const YamlValue& value, const std::string& name) {
  std::vector<NamedPath> paths;
  const auto add = [&](const std::string& label, const YamlValue& item) {
    const bool taken =
        std::any_of(paths.begin(), paths.end(), [&](const NamedPath& p) { return p.name == label; });
    if (taken) config_fail(item, name, "files with different names", "use a map, `NAME: path`, to name them");
    paths.push_back({label, config_text(item, name)});
  };
  if (value.kind == YamlValue::Kind::map) {
    for (const auto& [label, item] : value.entries) add(label, item);
  } else if (value.kind == YamlValue::Kind::list) {
    for (const YamlValue& item : value.items) {
      add(std::filesystem::path(config_text(item, name)).stem().string(), item);
    }
  } else {
    add("eval", value);
  }
  config.eval_dataset_path = std::move(paths);
}

constexpr int64_t kLongestRun = 1'000'000'000;  // seconds, some 30 years: fits any clock

// "90", "90s", "30m", "1h30m", "2d": seconds. -1 for anything else.
int64_t parse_duration(std::string_view text) {
  int64_t seconds = 0;
  if (text.empty()) return -1;
  while (!text.empty()) {
    int64_t count = 0;
    const auto number = std::from_chars(text.data(), text.data() + text.size(), count);
    if (number.ec != std::errc() || count < 0 || count > kLongestRun) return -1;
    text.remove_prefix(static_cast<size_t>(number.ptr - text.data()));
    const char unit = text.empty() ? 's' : text.front();
    const int64_t factor = unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : unit == 'd' ? 86400 : 0;
    if (factor == 0) return -1;
    if (!text.empty()) text.remove_prefix(1);
    seconds += count * factor;
    if (seconds > kLongestRun) return -1;
  }
  return seconds;
}

bool is_device_name(const std::string& name) {
  if (name == "auto" || name == "cpu" || name == "cuda") return true;
  const std::string_view index = std::string_view(name).substr(std::min<size_t>(5, name.size()));
  return name.starts_with("cuda:") && !index.empty() && index.size() <= 3 &&
         std::all_of(index.begin(), index.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

ConfigField train_paths() {
  const std::string name = "train_dataset_path";
  return {name,
          {},
          "path, glob or list of them",
          "training data: JSONL of chats (`messages`), of `text`, or of `input_ids` with `labels`; required",
          false,  // the data is compared by its content
          [=](RunConfig& config, const YamlValue& value) {
            config.train_dataset_path.clear();
            if (value.kind != YamlValue::Kind::list) {
              config.train_dataset_path.push_back(config_text(value, name));
              return;
            }
            for (const YamlValue& item : value.items)
              config.train_dataset_path.push_back(config_text(item, name));
            if (value.items.empty()) config_fail(value, name, "at least one path");
          },
          [](const RunConfig& config) {
            std::vector<std::string> items;
            for (const std::string& path : config.train_dataset_path) items.push_back(yaml_text(path));
            return yaml_list(items);
          }};
}

ConfigField eval_paths() {
  const std::string name = "eval_dataset_path";
  return {name,
          {},
          "path, list, or map of name to path",
          "held-out data; a list or map gives one set of metrics per file",
          false,
          [=](RunConfig& config, const YamlValue& value) { parse_eval_paths(config, value, name); },
          [](const RunConfig& config) {
            std::vector<std::string> items;
            for (const NamedPath& file : config.eval_dataset_path) {
              items.push_back(yaml_text(file.name) + ": " + yaml_text(file.path));
            }
            return items.empty() ? std::string() : fmt::format("{{{}}}", fmt::join(items, ", "));
          }};
}

ConfigField compute_type() {
  const std::string name = "bf16";
  return {name,
          {"torch_dtype", "dtype"},
          "bool (also bfloat16, float32)",
          "weights, states and gradients in bf16; false: all in f32",
          true,
          [=](RunConfig& config, const YamlValue& value) {
            const std::string word = config_choice(
                value, name,
                {"true", "false", "bfloat16", "bf16", "float32", "f32", "torch.bfloat16", "torch.float32"});
            config.bf16 = word == "true" || word.find("bf") != std::string::npos;
          },
          [](const RunConfig& config) { return std::string(config.bf16 ? "true" : "false"); }};
}

ConfigField device() {
  const std::string name = "device";
  return {name,
          {},
          "auto, cpu, cuda, cuda:N",
          "where to compute; auto takes a GPU where the program was built for one and one is there",
          true,
          [=](RunConfig& config, const YamlValue& value) {
            if (!value.is_scalar() || !is_device_name(value.text)) {
              config_fail(value, name, "one of auto, cpu, cuda, cuda:N");
            }
            config.device = value.text;
          },
          [](const RunConfig& config) { return config.device; }};
}

ConfigField columns() {
  const std::string name = "columns";
  return {name,
          {},
          "map of field to its name in the data",
          "data whose fields have other names, for example `{messages: conversations, role: from, content: "
          "value}`; fields: messages, role, content, text, input_ids, labels",
          true,
          [=](RunConfig& config, const YamlValue& value) {
            config.columns.clear();
            if (value.kind != YamlValue::Kind::map) config_fail(value, name, "a map of fields to names");
            for (const auto& [field, in_data] : value.entries) {
              if (!is_row_field(field)) {
                fail(ExitCode::config,
                     {in_data.place, name, "a field among messages, role, content, text, input_ids, labels",
                      quote_value(field), "write FIELD: NAME-IN-THE-DATA"});
              }
              config.columns[field] = config_text(in_data, name);
            }
          },
          [](const RunConfig& config) {
            std::vector<std::string> items;
            for (const auto& [field, in_data] : config.columns)
              items.push_back(field + ": " + yaml_text(in_data));
            return items.empty() ? std::string() : fmt::format("{{{}}}", fmt::join(items, ", "));
          }};
}

ConfigField max_run_time() {
  const std::string name = "max_run_time";
  return {name,
          {},
          "duration (90s, 30m, 12h, 1d12h) or off",
          "time after which the run saves and ends with status 75, as by SIGTERM; the same command goes on",
          false,
          [=](RunConfig& config, const YamlValue& value) {
            const bool off = value.is_scalar() && (value.text == "off" || value.text == "false");
            const int64_t seconds = off ? 0 : value.is_scalar() ? parse_duration(value.text) : -1;
            if (seconds < 0 || (seconds == 0 && !off)) {
              config_fail(value, name, "a duration like 90s, 30m, 12h or 1d12h, or off");
            }
            config.max_run_time = seconds;
          },
          [](const RunConfig& config) {
            return config.max_run_time == 0 ? std::string("off") : fmt::format("{}s", config.max_run_time);
          }};
}

ConfigField vocab_gradient_filter() {
  const std::string name = "vocab_gradient_filter";
  return {name,
          {},
          "float, above 0 and below 1, or off",
          "tokens whose probability is wrong by less than this in every row of a chunk get no gradient; on a "
          "CPU, "
          "2.5e-4 is a good start (docs/performance.md); off: every gradient is computed",
          true,
          [=](RunConfig& config, const YamlValue& value) {
            const bool off = value.is_scalar() && (value.text == "off" || value.text == "false");
            config.vocab_gradient_filter = off ? 0 : config_float(value, name, 0, 1);
            const double threshold = config.vocab_gradient_filter;
            if (!off && (threshold == 0 || threshold == 1))
              config_fail(value, name, "a number between 0 and 1, or off");
          },
          [](const RunConfig& config) {
            return config.vocab_gradient_filter == 0 ? std::string("off")
                                                     : yaml_float(config.vocab_gradient_filter);
          }};
}

ConfigField only(const Key& key, const std::vector<std::string>& accepted, const std::string& remedy) {
  return {key.name,
          key.aliases,
          accepted.empty() ? "none" : fmt::format("{}", fmt::join(accepted, ", ")),
          key.meaning,
          key.shapes_result,
          [=](RunConfig&, const YamlValue& value) {
            const bool known = value.is_scalar() &&
                               std::find(accepted.begin(), accepted.end(), value.text) != accepted.end();
            if (known) return;
            const std::string names = fmt::format("{}", fmt::join(accepted, " or "));
            config_fail(value, key.name, accepted.empty() ? "no value" : names + " in this version", remedy);
          },
          [=](const RunConfig&) { return accepted.empty() ? std::string() : accepted.front(); }};
}

}  // namespace gorgon::config_field
