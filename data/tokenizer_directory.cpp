#include <algorithm>

#include "data/file.h"
#include "data/tokenizer_json.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFromSameModel = "use the tokenizer files that the model came with";

JsonOptions options_of(const fs::path& path) {
  JsonOptions options;
  options.file = path.string();
  options.code = ExitCode::model;
  options.reject_duplicate_keys = true;
  return options;
}

Json read_optional(const fs::path& path) {
  if (!fs::exists(path)) return Json();
  return parse_json(read_text(path, ExitCode::model), options_of(path));
}

void set_token(TokenizerSpec& spec, const std::string& text, int64_t id) {
  const auto index = static_cast<size_t>(id);
  if (index >= spec.tokens.size()) spec.tokens.resize(index + 1);
  if (!spec.tokens[index].empty() && spec.tokens[index] != text) {
    fail(ExitCode::model, {spec.file, "id " + std::to_string(id), "one token",
                           quote_value(spec.tokens[index]) + " and " + quote_value(text), kFromSameModel});
  }
  spec.tokens[index] = text;
}

// Ids are positions of an embedding: all but a few of them must be in use, which also bounds the table.
void read_vocabulary(const Json& model, const JsonOptions& options, TokenizerSpec& spec) {
  const Json& vocabulary = json_member(model, "vocab");
  if (!vocabulary.is_object() || vocabulary.empty()) {
    fail(ExitCode::model,
         {spec.file, "model.vocab", "a map from tokens to ids", vocabulary.type_name(), kFromSameModel});
  }
  for (const auto& [text, value] : vocabulary.items()) {
    const int64_t id = json_int(vocabulary, text, 0, kMostTokens - 1, options);
    set_token(spec, text, id);
  }
}

void read_merges(const Json& model, TokenizerSpec& spec) {
  const TokenIds ids = token_ids_of(spec.tokens);
  const Json& merges = json_member(model, "merges");
  const auto reject = [&](size_t i, const std::string& found) {
    fail(ExitCode::model, {spec.file, "model.merges, line " + std::to_string(i + 1),
                           "two tokens, as \"a b\" or [\"a\", \"b\"]", found, kFromSameModel});
  };
  if (!merges.is_array()) reject(0, merges.type_name());
  for (size_t i = 0; i < merges.size(); ++i) {
    std::string left, right;
    if (merges[i].is_string()) {
      const std::string line = merges[i].get<std::string>();
      const size_t space = line.find(' ', 1);
      if (space == std::string::npos) reject(i, quote_value(line));
      left = line.substr(0, space);
      right = line.substr(space + 1);
    } else if (merges[i].is_array() && merges[i].size() == 2 && merges[i][0].is_string() &&
               merges[i][1].is_string()) {
      left = merges[i][0].get<std::string>();
      right = merges[i][1].get<std::string>();
    } else {
      reject(i, quote_value(merges[i].dump()));
    }
    spec.merges.push_back(make_merge(ids, left, right, i, spec.file, "model.merges, line"));
  }
}

void read_added_tokens(const Json& list, const JsonOptions& options, TokenizerSpec& spec) {
  if (list.is_null()) return;
  if (!list.is_array())
    fail(ExitCode::model, {spec.file, "added_tokens", "a list", list.type_name(), kFromSameModel});
  for (const Json& node : list) {
    AddedToken token;
    token.text = json_string(node, "content", options);
    token.id = static_cast<int32_t>(json_int(node, "id", 0, kMostTokens - 1, options));
    token.special = json_flag(node, "special", false, options);
    token.normalized = json_flag(node, "normalized", !token.special, options);
    token.lstrip = json_flag(node, "lstrip", false, options);
    token.rstrip = json_flag(node, "rstrip", false, options);
    token.single_word = json_flag(node, "single_word", false, options);
    if (token.text.empty()) continue;
    set_token(spec, token.text, token.id);
    spec.added.push_back(std::move(token));
  }
}

void read_model(const Json& model, const JsonOptions& options, TokenizerSpec& spec) {
  const std::string type = json_text(model, "type", "BPE", options);
  if (type != "BPE") {
    fail(ExitCode::model,
         {spec.file, "model.type", "BPE", quote_value(type), "use a model with a BPE tokenizer"});
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix", "dropout"}) {
    const Json& value = json_member(model, key);
    if (value.is_null() || value == "" || value == 0.0) continue;
    fail(ExitCode::model, {spec.file, std::string("model.") + key, "null", quote_value(value.dump()),
                           "use a model whose tokenizer has none"});
  }
  read_vocabulary(model, options, spec);
  read_merges(model, spec);
  spec.ignore_merges = json_flag(model, "ignore_merges", false, options);
  spec.byte_fallback = json_flag(model, "byte_fallback", false, options);
  spec.fuse_unk = json_flag(model, "fuse_unk", false, options);
}

// "text" or {"content": "text"}, of tokenizer_config.json, else of special_tokens_map.json.
std::string special_token(const Json& config, const Json& map, const char* key) {
  for (const Json* source : {&config, &map}) {
    const Json& value = json_member(*source, key);
    if (value.is_string()) return value.get<std::string>();
    const Json& content = json_member(value, "content");
    if (content.is_string()) return content.get<std::string>();
  }
  return "";
}

int32_t id_of_special(const TokenizerSpec& spec, const fs::path& directory, const char* key,
                      const std::string& text) {
  if (text.empty()) return -1;
  for (const AddedToken& token : spec.added) {
    if (token.text == text) return token.id;
  }
  const auto found = std::find(spec.tokens.begin(), spec.tokens.end(), text);
  if (found == spec.tokens.end()) {
    fail(ExitCode::model, {(directory / "tokenizer_config.json").string(), key, "a token of tokenizer.json",
                           quote_value(text), kFromSameModel});
  }
  return static_cast<int32_t>(found - spec.tokens.begin());
}

// The file chat_template.jinja comes first, as in transformers; of several templates "default" is taken.
std::string chat_template_of(const fs::path& directory, const Json& config) {
  const fs::path file = directory / "chat_template.jinja";
  if (fs::exists(file)) return read_text(file, ExitCode::model);
  const Json& value = json_member(config, "chat_template");
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return "";
  for (const Json& named : value) {
    const Json& text = json_member(named, "template");
    if (json_member(named, "name") == "default" && text.is_string()) return text.get<std::string>();
  }
  return "";
}

}  // namespace

TokenizerSpec tokenizer_spec_of_directory(const fs::path& directory) {
  const fs::path path = directory / "tokenizer.json";
  const JsonOptions options = options_of(path);
  const Json root = parse_json(read_text(path, ExitCode::model), options);
  TokenizerSpec spec;
  spec.file = path.string();
  spec.byte_level = false;
  const Json& model = json_member(root, "model");
  read_model(model, options, spec);
  read_added_tokens(json_member(root, "added_tokens"), options, spec);
  read_normalizer(json_member(root, "normalizer"), options, spec);
  read_pre_tokenizer(json_member(root, "pre_tokenizer"), options, spec);
  read_decoder(json_member(root, "decoder"), spec);
  read_post_processor(json_member(root, "post_processor"), spec);
  const std::string unknown = json_text(model, "unk_token", "", options);
  if (!unknown.empty()) spec.unk_id = id_of_special(spec, directory, "unk_token", unknown);

  const Json config = read_optional(directory / "tokenizer_config.json");
  const Json map = read_optional(directory / "special_tokens_map.json");
  spec.bos_id = id_of_special(spec, directory, "bos_token", special_token(config, map, "bos_token"));
  spec.eos_id = id_of_special(spec, directory, "eos_token", special_token(config, map, "eos_token"));
  const Json& adds_bos = json_member(config, "add_bos_token");
  if (adds_bos.is_boolean()) spec.adds_bos = adds_bos.get<bool>();
  spec.adds_bos = spec.adds_bos && spec.bos_id >= 0;
  spec.chat_template = chat_template_of(directory, config);
  return spec;
}

}  // namespace gorgon
