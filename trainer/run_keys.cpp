#include "trainer/run_keys.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "kernels/error.h"
#include "trainer/yaml_document.h"

namespace gorgon {
namespace {

constexpr std::string_view kCarried[] = {
    "max_seq_length",           "packing",      "packing_strategy",
    "assistant_only_loss",      "columns",      "medusa_heads_coefficient",
    "medusa_decay_coefficient", "load_in_4bit", "load_in_8bit",
    "bnb_4bit_use_double_quant"};

bool is_carried(std::string_view name) {
  return std::find(std::begin(kCarried), std::end(kCarried), name) != std::end(kCarried);
}

void set_key(const std::string& key, const YamlValue& value, RunConfig& config) {
  const std::vector<ConfigField>& fields = config_fields();
  const auto field =
      std::find_if(fields.begin(), fields.end(), [&](const ConfigField& f) { return f.name == key; });
  if (field == fields.end() || !is_carried(key)) {
    fail(ExitCode::checkpoint, {value.place, "", fmt::format("one of {}", fmt::join(kCarried, ", ")),
                                quote_value(key), "was it exported by a later version?"});
  }
  if (value.kind != YamlValue::Kind::null) field->parse(config, value);
}

}  // namespace

std::string run_keys(const RunConfig& config) {
  std::string out;
  for (const ConfigField& field : config_fields()) {
    if (is_carried(field.name)) out += field.name + ": " + field.print(config) + "\n";
  }
  return out;
}

void set_run_keys(const std::string& text, const std::string& file, RunConfig& config) {
  try {
    for (const auto& [key, value] : parse_yaml(text, file + ": " + kRunKeys).entries)
      set_key(key, value, config);
  } catch (const Error& error) {  // of the YAML: there it is a mistake in a config
    throw Error(ExitCode::checkpoint, error.what());
  }
}

}  // namespace gorgon
