#include "data/tokenizer_json.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

[[noreturn]] void unknown(const JsonOptions& options, const std::string& key, const std::string& expected,
                          const std::string& found) {
  fail(ExitCode::model,
       {options.file, key, expected, quote_value(found), "use a model whose tokenizer has only these"});
}

// The text as a pattern that matches it alone.
std::string literal_pattern(const std::string& text) {
  std::string pattern;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain =
        byte >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (!plain) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

// {"String": ...} or {"Regex": ...}; also a bare string, as older files have it.
std::string read_pattern(const Json& node, const JsonOptions& options) {
  const Json& pattern = json_member(node, "pattern");
  if (pattern.is_string()) return literal_pattern(pattern.get<std::string>());
  if (pattern.is_object() && pattern.contains("Regex")) return json_string(pattern, "Regex", options);
  return literal_pattern(json_string(pattern, "String", options));
}

SplitStep::Behaviour read_behaviour(const Json& node, const JsonOptions& options) {
  const std::string name = json_string(node, "behavior", options);
  if (name == "Isolated") return SplitStep::Behaviour::isolated;
  if (name == "Removed") return SplitStep::Behaviour::removed;
  if (name == "MergedWithPrevious") return SplitStep::Behaviour::with_previous;
  if (name == "MergedWithNext") return SplitStep::Behaviour::with_next;
  if (name == "Contiguous") return SplitStep::Behaviour::contiguous;
  unknown(options, "behavior", "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous", name);
}

SplitStep regex_step(std::string pattern, SplitStep::Behaviour behaviour, bool invert) {
  return {SplitStep::Kind::regex, std::move(pattern), behaviour, invert, "", {}, true};
}

void read_byte_level(const Json& node, const JsonOptions& options, TokenizerSpec& spec) {
  spec.byte_level = true;
  if (json_flag(node, "add_prefix_space", true, options)) {
    spec.pre_tokenizer.push_back({SplitStep::Kind::prefix_space, "", {}, false, "", {}, true});
  }
  if (json_flag(node, "use_regex", true, options)) {
    spec.pre_tokenizer.push_back(regex_step(kGpt2Pattern, SplitStep::Behaviour::isolated, false));
  }
}

void read_metaspace(const Json& node, const JsonOptions& options, TokenizerSpec& spec) {
  if (!spec.pre_tokenizer.empty())
    unknown(options, "pre_tokenizer", "Metaspace as its first step", "a later one");
  SplitStep step{SplitStep::Kind::metaspace, "", {}, false, "", {}, true};
  step.replacement = json_text(node, "replacement", kSpaceMark, options);
  if (step.replacement.empty()) unknown(options, "replacement", "a character", "");
  const bool legacy = json_flag(node, "add_prefix_space", true, options);
  const std::string scheme = json_text(node, "prepend_scheme", legacy ? "always" : "never", options);
  if (scheme == "first") {
    step.scheme = SplitStep::Scheme::first;
  } else if (scheme == "never") {
    step.scheme = SplitStep::Scheme::never;
  } else if (scheme != "always") {
    unknown(options, "prepend_scheme", "always, first or never", scheme);
  }
  step.split = json_flag(node, "split", true, options);
  spec.pre_tokenizer.push_back(std::move(step));
}

}  // namespace

bool json_flag(const Json& object, const char* key, bool otherwise, const JsonOptions& options) {
  const Json& value = json_member(object, key);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean())
    fail(ExitCode::model, {options.file, key, "true or false", quote_value(value.dump()), ""});
  return value.get<bool>();
}

std::string json_text(const Json& object, const char* key, const std::string& otherwise,
                      const JsonOptions& options) {
  return json_member(object, key).is_null() ? otherwise : json_string(object, key, options);
}

const Json& json_member(const Json& object, const char* key) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

void read_normalizer(const Json& node, const JsonOptions& options, TokenizerSpec& spec) {
  if (node.is_null()) return;
  const std::string type = json_string(node, "type", options);
  if (type == "Sequence") {
    for (const Json& step : json_member(node, "normalizers")) read_normalizer(step, options, spec);
  } else if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    spec.normalizer.push_back({NormalizeStep::Kind::unicode, type, ""});
  } else if (type == "Prepend") {
    spec.normalizer.push_back({NormalizeStep::Kind::prepend, "", json_string(node, "prepend", options)});
  } else if (type == "Replace" && json_member(node, "pattern").contains("String")) {
    spec.normalizer.push_back({NormalizeStep::Kind::replace,
                               json_string(json_member(node, "pattern"), "String", options),
                               json_string(node, "content", options)});
  } else {
    unknown(options, "normalizer", "NFC, NFD, NFKC, NFKD, Prepend or Replace of a string", type);
  }
}

void read_pre_tokenizer(const Json& node, const JsonOptions& options, TokenizerSpec& spec) {
  if (node.is_null()) return;
  const std::string type = json_string(node, "type", options);
  if (type != "Sequence" && spec.byte_level) {
    unknown(options, "pre_tokenizer", "ByteLevel as its last step", type);
  }
  if (type == "Sequence") {
    for (const Json& step : json_member(node, "pretokenizers")) read_pre_tokenizer(step, options, spec);
  } else if (type == "ByteLevel") {
    read_byte_level(node, options, spec);
  } else if (type == "Digits") {
    const bool individual = json_flag(node, "individual_digits", false, options);
    spec.pre_tokenizer.push_back(
        regex_step(individual ? R"(\p{N})" : R"(\p{N}+)", SplitStep::Behaviour::isolated, false));
  } else if (type == "Split") {
    const bool invert = json_flag(node, "invert", false, options);
    spec.pre_tokenizer.push_back(
        regex_step(read_pattern(node, options), read_behaviour(node, options), invert));
  } else if (type == "Metaspace") {
    read_metaspace(node, options, spec);
  } else {
    unknown(options, "pre_tokenizer", "Split, Digits, ByteLevel or Metaspace", type);
  }
}

void read_decoder(const Json& node, TokenizerSpec& spec) {
  const Json& type = json_member(node, "type");
  if (type == "Sequence") {
    for (const Json& step : json_member(node, "decoders")) read_decoder(step, spec);
  } else if (type == "Strip") {
    spec.strip_space = json_member(node, "content") == " " && json_member(node, "start") == 1;
  } else if (type == "Metaspace") {
    spec.strip_space =
        json_member(node, "prepend_scheme") != "never" && json_member(node, "add_prefix_space") != false;
  }
}

void read_post_processor(const Json& node, TokenizerSpec& spec) {
  const Json& type = json_member(node, "type");
  if (type == "Sequence") {
    for (const Json& step : json_member(node, "processors")) read_post_processor(step, spec);
  } else if (type == "TemplateProcessing") {
    const Json& single = json_member(node, "single");
    if (single.is_array() && !single.empty())
      spec.adds_bos = single[0].is_object() && single[0].contains("SpecialToken");
  }
}

}  // namespace gorgon
