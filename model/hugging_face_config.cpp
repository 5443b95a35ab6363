// config.json of a Hugging Face directory. Keys that are missing or null have transformers' defaults.
#include "data/file.h"
#include "data/json.h"
#include "model/model_files.h"
#include "model/rope_scaling.h"

namespace gorgon {

namespace {

class ConfigReader {
 public:
  ConfigReader(const Json& object, const JsonOptions& options) : object_(object), options_(options) {}

  bool has(const std::string& key) const {
    const auto found = object_.find(key);
    return found != object_.end() && !found->is_null();
  }
  const Json& object() const { return object_; }
  const std::string& file() const { return options_.file; }

  int64_t integer(const std::string& key, int64_t max) const {
    return json_int(object_, key, 1, max, options_);
  }
  int64_t integer_or(const std::string& key, int64_t max, int64_t otherwise) const {
    return has(key) ? integer(key, max) : otherwise;
  }
  double number(const std::string& key) const { return json_number(object_, key, options_); }
  double number_or(const std::string& key, double otherwise) const {
    return has(key) ? number(key) : otherwise;
  }
  std::string string_or(const std::string& key, const std::string& otherwise) const {
    return has(key) ? json_string(object_, key, options_) : otherwise;
  }
  bool boolean_or(const std::string& key, bool otherwise) const {
    if (!has(key)) return otherwise;
    const Json& value = object_.at(key);
    if (!value.is_boolean()) error(key, "true or false", value.type_name());
    return value.get<bool>();
  }
  ConfigReader inner(const std::string& key) const {
    const Json& value = object_.at(key);
    if (!value.is_object()) error(key, "an object", value.type_name());
    return {value, options_};
  }
  [[noreturn]] void error(const std::string& key, const std::string& expected,
                          const std::string& found) const {
    fail(ExitCode::model, {options_.file, key, expected, found, ""});
  }

 private:
  const Json& object_;
  const JsonOptions& options_;
};

std::string read_architecture(const ConfigReader& config) {
  std::string name;
  if (config.has("architectures")) {
    const Json& list = config.object().at("architectures");
    if (!list.is_array() || list.size() != 1 || !list[0].is_string()) {
      config.error("architectures", "an array of one name", list.type_name());
    }
    name = list[0].get<std::string>();
  } else {
    const std::string type = config.string_or("model_type", "");
    name = type == "llama" ? "LlamaForCausalLM" : type == "mistral" ? "MistralForCausalLM" : type;
  }
  if (name == "LlamaForCausalLM") return "llama";
  if (name == "MistralForCausalLM") return "mistral";
  fail_architecture(config.file(), "architectures", name.empty() ? "none" : quote_value(name));
}

// What the backbone computes is fixed; a configuration that asks for something else is refused.
void check_supported(const ConfigReader& config) {
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (config.boolean_or(key, false)) config.error(key, "false (a model without biases)", "true");
  }
  const std::string activation = config.string_or("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") {
    config.error("hidden_act", "silu", quote_value(activation));
  }
  if (config.number_or("partial_rotary_factor", 1.0) != 1.0) {
    config.error("partial_rotary_factor", "1", std::to_string(config.number("partial_rotary_factor")));
  }
  if (config.has("quantization_config")) {
    config.error("quantization_config", "weights as BF16, F16 or F32 (quantised ones come as GGUF)",
                 "a quantised checkpoint");
  }
}

std::vector<float> read_rope_factors(const ConfigReader& rope, int64_t head_dim, double theta) {
  const std::string type = rope.string_or("rope_type", rope.string_or("type", "default"));
  if (type == "default") {
    for (const auto& [key, value] : rope.object().items()) {
      if (value.is_object())
        rope.error("rope_parameters", "one set for all layers", "one for " + quote_value(key));
    }
    return {};
  }
  if (type == "linear") return linear_rope_factors(head_dim, rope.number("factor"));
  if (type != "llama3") rope.error("rope_type", "default, linear or llama3", quote_value(type));
  const Llama3Rope llama3{
      .factor = rope.number("factor"),
      .low_freq_factor = rope.number("low_freq_factor"),
      .high_freq_factor = rope.number("high_freq_factor"),
      .original_max_position_embeddings = rope.number("original_max_position_embeddings")};
  if (!(llama3.factor > 0 && llama3.low_freq_factor > 0 && llama3.high_freq_factor > llama3.low_freq_factor &&
        llama3.original_max_position_embeddings > 0)) {
    rope.error("rope_parameters", "positive numbers with low_freq_factor below high_freq_factor",
               "other ones");
  }
  return llama3_rope_factors(head_dim, theta, llama3);
}

void read_rope(const ConfigReader& config, ModelConfig& c) {
  double theta = config.number_or("rope_theta", 10000.0);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {  // transformers 5's name and the former one
    if (!config.has(key)) continue;
    const ConfigReader rope = config.inner(key);
    theta = rope.number_or("rope_theta", theta);
    c.rope_factors = read_rope_factors(rope, c.head_dim, theta);
    break;
  }
  c.rope_theta = static_cast<float>(theta);
}

}  // namespace

ModelConfig read_hugging_face_config(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  const JsonOptions options{.file = path.string(),
                            .code = ExitCode::model,
                            .max_values = ModelLimits::json_values,
                            .reject_duplicate_keys = true};
  const Json json = parse_json(read_text(path, ExitCode::model, ModelLimits::json_bytes), options);
  if (!json.is_object()) fail(ExitCode::model, {options.file, "", "an object", json.type_name(), ""});
  const ConfigReader config(json, options);
  ModelConfig c;
  c.architecture = read_architecture(config);
  const bool mistral = c.architecture == "mistral";
  check_supported(config);
  c.hidden_size = config.integer("hidden_size", ModelLimits::width);
  c.num_hidden_layers = config.integer("num_hidden_layers", ModelLimits::layers);
  c.intermediate_size = config.integer("intermediate_size", ModelLimits::width);
  c.num_attention_heads = config.integer("num_attention_heads", ModelLimits::heads);
  c.num_key_value_heads =
      config.integer_or("num_key_value_heads", ModelLimits::heads, mistral ? 8 : c.num_attention_heads);
  c.head_dim = config.integer_or("head_dim", ModelLimits::head_dim, c.hidden_size / c.num_attention_heads);
  c.vocab_size = config.integer("vocab_size", ModelLimits::vocabulary);
  c.max_position_embeddings =
      config.integer_or("max_position_embeddings", ModelLimits::positions, mistral ? 131072 : 2048);
  c.rms_norm_eps = static_cast<float>(config.number_or("rms_norm_eps", 1e-6));
  c.tie_word_embeddings = config.boolean_or("tie_word_embeddings", false);
  if (mistral && !json.contains("sliding_window")) c.sliding_window = 4096;
  if (mistral && config.has("sliding_window")) {
    c.sliding_window = config.integer("sliding_window", ModelLimits::positions);
  }
  read_rope(config, c);
  check_config(c, options.file);
  return c;
}

}  // namespace gorgon
