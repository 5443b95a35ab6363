// Tokenizers from GGUF metadata, and files that are wrong: one line of Error(model) each.
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "container_bytes.h"
#include "data/gguf.h"
#include "data/tokenizer.h"
#include "expect_error.h"
#include "temporary_directory.h"

namespace gorgon {
namespace {

using nlohmann::json;

json read_golden(const std::string& name) {
  std::ifstream file(std::string(GORGON_TEST_DATA) + "/tokenizer/" + name);
  EXPECT_TRUE(file.good()) << name;
  return json::parse(file);
}

template <typename T>
std::string gguf_array(const std::string& key, uint32_t type, const std::vector<T>& values) {
  std::string bytes = raw(type) + raw(uint64_t{values.size()});
  for (const T& value : values) {
    if constexpr (std::is_same_v<T, std::string>) {
      bytes += gguf_text(value);
    } else {
      bytes += raw(value);
    }
  }
  return gguf_key(key, kGgufArray, bytes);
}

// A tokenizer as GGUF has it; what is empty is left out.
struct GgufTokenizer {
  std::string model, pre;
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  std::vector<float> scores;
  uint32_t bos = 1, eos = 2;

  Tokenizer load() const {
    GgufFile file;
    file.keys = {gguf_string("tokenizer.ggml.model", model), gguf_u32("tokenizer.ggml.bos_token_id", bos),
                 gguf_u32("tokenizer.ggml.eos_token_id", eos)};
    if (!pre.empty()) file.keys.push_back(gguf_string("tokenizer.ggml.pre", pre));
    if (!tokens.empty()) file.keys.push_back(gguf_array("tokenizer.ggml.tokens", kGgufString, tokens));
    if (!merges.empty()) file.keys.push_back(gguf_array("tokenizer.ggml.merges", kGgufString, merges));
    if (!types.empty()) file.keys.push_back(gguf_array("tokenizer.ggml.token_type", kGgufI32, types));
    if (!scores.empty()) file.keys.push_back(gguf_array("tokenizer.ggml.scores", kGgufF32, scores));
    const std::vector<std::byte> bytes = exact_bytes(file.bytes());
    return Tokenizer::from_gguf(parse_gguf(bytes, "m.gguf"));
  }
};

GgufTokenizer byte_level() {
  GgufTokenizer made{.model = "gpt2",
                     .pre = "gpt-2",
                     .tokens = {"<u>", "<s>", "</s>", "a", "b", "ab", "Ġ"},
                     .merges = {"a b"},
                     .types = {3, 3, 3, 1, 1, 1, 1},
                     .scores = {}};
  return made;
}

GgufTokenizer sentence_piece() {
  GgufTokenizer made{.model = "llama",
                     .pre = "",
                     .tokens = {"<u>", "<s>", "</s>", "<0x41>", "a", "b", "ab", "▁"},
                     .merges = {},
                     .types = {2, 3, 3, 6, 1, 1, 1, 1},
                     .scores = {0, 0, 0, 0, -2, -3, -1, -4}};
  return made;
}

TEST(TokenizerOfGguf, MistralByScoresGivesTheIdsOfMistralByMerges) {
  GgufTokenizer gguf{.model = "llama",
                     .pre = "",
                     .tokens = std::vector<std::string>(32000),
                     .merges = {},
                     .types = std::vector<int32_t>(32000, 5),
                     .scores = std::vector<float>(32000, 0.0f)};
  for (const json& piece : read_golden("mistral/pieces.json")) {
    const auto id = piece[0].get<size_t>();
    gguf.tokens[id] = piece[1];
    gguf.scores[id] = piece[2];
    gguf.types[id] = piece[3];
  }
  const Tokenizer tokenizer = gguf.load();
  EXPECT_TRUE(tokenizer.adds_bos());
  for (const json& row : read_golden("mistral/expected.json")) {
    const auto text = row.at("text").get<std::string>();
    const auto ids = row.at("ids").get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
    EXPECT_EQ(tokenizer.decode(ids), row.at("decoded").get<std::string>());
  }
}

TEST(TokenizerOfGguf, SameAsTokenizerJsonForEveryPattern) {
  for (const auto& [folder, pre] :
       {std::pair("llama3", "llama-bpe"), {"qwen2", "qwen2"}, {"smollm", "smollm"}}) {
    const json from = read_golden(std::string(folder) + "/tokenizer.json");
    GgufTokenizer gguf{.model = "gpt2", .pre = pre, .tokens = {}, .merges = {}, .types = {}, .scores = {}};
    for (const auto& [token, id] : from.at("model").at("vocab").items()) {
      if (gguf.tokens.size() <= id) gguf.tokens.resize(id.get<size_t>() + 1);
      gguf.tokens[id] = token;
    }
    for (const json& merge : from.at("model").at("merges")) {
      gguf.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    }
    const Tokenizer tokenizer = gguf.load();
    int compared = 0;
    for (const json& row : read_golden(std::string(folder) + "/expected.json")) {
      const auto text = row.at("text").get<std::string>();
      // GGUF has no normaliser and no added tokens with conditions.
      const bool plain = text.find("token") == std::string::npos && text.find('<') == std::string::npos &&
                         text.find("\u0301") == std::string::npos && text.find("\u1112") == std::string::npos;
      if (!plain) continue;
      EXPECT_EQ(tokenizer.encode(text), row.at("ids").get<std::vector<int32_t>>()) << folder << ": " << text;
      ++compared;
    }
    EXPECT_GT(compared, 25);
  }
}

TEST(TokenizerOfGguf, SmallOnesWork) {
  EXPECT_EQ(byte_level().load().encode("ab a</s>"), (std::vector<int32_t>{5, 6, 3, 2}));
  EXPECT_EQ(sentence_piece().load().encode("abA"), (std::vector<int32_t>{7, 6, 3}));
  // Text without any token: unknown in one, left out in the other, as in their reference implementations.
  EXPECT_EQ(sentence_piece().load().encode("zzz"), (std::vector<int32_t>{7, 0}));
  EXPECT_EQ(byte_level().load().encode("zaz"), (std::vector<int32_t>{3}));
}

TEST(TokenizerOfGguf, WrongMetadataIsModelError) {
  const auto refused = [](const GgufTokenizer& gguf, const std::vector<std::string>& parts) {
    expect_error([&] { gguf.load(); }, ExitCode::model, parts);
  };
  GgufTokenizer gguf = byte_level();
  gguf.model = "bert";
  refused(gguf, {"m.gguf", "tokenizer.ggml.model", "'bert'", "gpt2"});
  gguf = byte_level();
  gguf.pre = "nobody";
  refused(gguf, {"tokenizer.ggml.pre", "'nobody'", "llama-bpe"});
  gguf = byte_level();
  gguf.tokens.clear();
  refused(gguf, {"tokenizer.ggml.tokens"});
  gguf = byte_level();
  gguf.merges = {"a b", "a c"};
  refused(gguf, {"tokenizer.ggml.merges, line 2", "'c'"});
  gguf.merges = {"b a"};
  refused(gguf, {"tokenizer.ggml.merges, line 1", "'ba'"});
  gguf.merges = {"ab"};
  refused(gguf, {"tokenizer.ggml.merges, line 1", "'ab'"});
  gguf = byte_level();
  gguf.types.pop_back();
  refused(gguf, {"token_type", "7", "6"});
  gguf = byte_level();
  gguf.eos = 7;
  refused(gguf, {"eos_token_id", "7"});
  gguf = byte_level();
  gguf.tokens[3] = "\xff";
  refused(gguf, {"tokens[3]", "\\xff"});
  for (const std::string bad : {"<0x-1>", "<0x1>", "<0xGG>", "<0x0041>", "A"}) {
    gguf = sentence_piece();
    gguf.tokens[3] = bad;
    refused(gguf, {"tokens[3]", "<0x00>", "'" + bad + "'"});
  }
  gguf = sentence_piece();
  gguf.scores.pop_back();
  refused(gguf, {"tokenizer.ggml.scores", "8", "7"});
  gguf = sentence_piece();
  gguf.scores[5] = std::nanf("");
  refused(gguf, {"tokenizer.ggml.scores", "finite"});
}

// A small tokenizer.json to spoil.
json small_json() {
  return json::parse(R"({
    "added_tokens": [{"id": 3, "content": "<e>", "special": true}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
  })");
}

void load_text(const std::string& text, const std::string& config) {
  const TemporaryDirectory folder;
  std::ofstream(folder.path() / "tokenizer.json") << text;
  if (!config.empty()) std::ofstream(folder.path() / "tokenizer_config.json") << config;
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  tokenizer.encode(std::string(40, 'a') + "!");
}

TEST(TokenizerJson, WrongFilesAreModelErrors) {
  ASSERT_NO_THROW(load_text(small_json().dump(), R"({"eos_token": "<e>"})"));
  const auto refused = [](const std::string& pointer, const json& value,
                          const std::vector<std::string>& parts) {
    SCOPED_TRACE(pointer);
    json file = small_json();
    file[json::json_pointer(pointer)] = value;
    std::vector<std::string> all = parts;
    all.push_back("tokenizer.json");
    expect_error([&] { load_text(file.dump(), ""); }, ExitCode::model, all);
  };
  refused("/model/type", "WordPiece", {"model.type", "BPE", "'WordPiece'"});
  refused("/model/vocab", json(), {"model.vocab"});
  refused("/model/vocab/b", 0, {"id 0", "'a'", "'b'"});
  refused("/model/vocab/b", 2'000'000'000, {"2000000000"});
  refused("/model/vocab/b", -1, {"-1"});
  refused("/model/vocab/b", "1", {"b"});
  refused("/added_tokens/0/id", 1, {"id 1", "'b'", "'<e>'"});
  refused("/model/merges/0", "a c", {"line 1", "'c'"});
  refused("/model/merges/0", json::array({"b", "a"}), {"line 1", "'ba'"});
  refused("/model/merges/0", json::array({"b"}), {"line 1"});
  refused("/model/merges", 1, {"model.merges"});
  refused("/model/dropout", 0.1, {"model.dropout"});
  refused("/model/end_of_word_suffix", "</w>", {"end_of_word_suffix"});
  refused("/model/unk_token", "<nope>", {"unk_token", "'<nope>'"});
  refused("/normalizer", {{"type", "Lowercase"}}, {"normalizer", "'Lowercase'"});
  refused("/normalizer", 5, {"type"});
  refused("/pre_tokenizer/type", "Whitespace", {"pre_tokenizer", "'Whitespace'"});
  const auto with_pattern = [](const std::string& pattern) {
    const json split = {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}};
    const json bytes = {{"type", "ByteLevel"}, {"use_regex", false}};
    return json{{"type", "Sequence"}, {"pretokenizers", {split, bytes}}};
  };
  refused("/pre_tokenizer", with_pattern("(a"), {"pattern '(a'", "parenthesis"});
  refused("/pre_tokenizer", with_pattern(R"(\p{Nonsense})"), {"pattern", "Nonsense"});
  refused("/pre_tokenizer", with_pattern("(a|aa)+$"), {"'(a|aa)+$'", "5000000 steps"});
  refused("/pre_tokenizer", with_pattern(std::string(100'000, 'a')), {"100000 bytes"});
  refused("/pre_tokenizer", with_pattern(std::string(1000, '(') + std::string(1000, ')')), {"nested"});
  expect_error([] { load_text(small_json().dump(), R"({"eos_token": "<nope>"})"); }, ExitCode::model,
               {"tokenizer_config.json", "eos_token", "'<nope>'"});
  expect_error([] { load_text("{", ""); }, ExitCode::model, {"tokenizer.json"});
  expect_error([] { load_text("[]", ""); }, ExitCode::model, {"model.vocab"});
  expect_error([] { load_text(R"({"model": {"vocab": {"a": 0, "a": 1}}})", ""); }, ExitCode::model,
               {"tokenizer.json", "a"});
}

// What only looks like a byte is a token like others.
TEST(TokenizerJson, TokensThatAreNoBytesAreText) {
  json file = small_json();
  file["pre_tokenizer"] = nullptr;
  file["model"]["byte_fallback"] = true;
  int id = 4;
  for (const char* token : {"<0x-1>", "<0x1>", "<0xGG>", "<0x0041>", "<0x41>"}) {
    file["model"]["vocab"][token] = id++;
  }
  const TemporaryDirectory folder;
  std::ofstream(folder.path() / "tokenizer.json") << file.dump();
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.encode("A"), (std::vector<int32_t>{8}));
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{4, 6, 8}), "<0x-1><0xGG>A");
}

TEST(TokenizerJson, IdsWithoutARowAreNamed) {
  const TemporaryDirectory folder;
  std::ofstream(folder.path() / "tokenizer.json") << small_json().dump();
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_NO_THROW(tokenizer.require_rows(std::vector<int32_t>{0, 3}, 4));
  expect_error(
      [&] {
        tokenizer.require_rows(std::vector<int32_t>{0, 3}, 3);
      },
      ExitCode::model, {"tokenizer.json", "token '<e>'", "3 rows", "id 3"});
}

TEST(TokenizerJson, DirectoryWithoutTokenizerSaysWhatIsMissing) {
  const TemporaryDirectory folder;
  expect_error([&] { Tokenizer::load(folder.path()); }, ExitCode::model, {"tokenizer.json"});
}

}  // namespace
}  // namespace gorgon
