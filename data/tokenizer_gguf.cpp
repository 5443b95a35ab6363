#include <algorithm>
#include <cmath>
#include <map>

#include "data/gguf.h"
#include "data/tokenizer_spec.h"
#include "data/unicode.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

// tokenizer.ggml.token_type, from the GGUF specification.
enum TokenType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// GGUF names the tokenizer's family only; each brings its own defaults, llama.cpp's.
constexpr const char* kByteLevelModel = "gpt2";
constexpr const char* kSentencePieceModel = "llama";

std::vector<int64_t> token_types(const Gguf& gguf, const TokenizerSpec& spec) {
  const std::string key = "tokenizer.ggml.token_type";
  if (!gguf.has(key)) return std::vector<int64_t>(spec.tokens.size(), kNormal);
  std::vector<int64_t> types = gguf.integers(key);
  if (types.size() != spec.tokens.size()) {
    fail(ExitCode::model, {gguf.file, key, std::to_string(spec.tokens.size()) + " types, one a token",
                           std::to_string(types.size()), "convert the model again"});
  }
  return types;
}

int32_t token_id(const Gguf& gguf, const std::string& key, const TokenizerSpec& spec) {
  if (!gguf.has(key)) return -1;
  return static_cast<int32_t>(gguf.integer(key, 0, static_cast<int64_t>(spec.tokens.size()) - 1));
}

void read_tokens(const Gguf& gguf, TokenizerSpec& spec) {
  const std::string key = "tokenizer.ggml.tokens";
  spec.tokens = gguf.strings(key);
  if (spec.tokens.empty() || spec.tokens.size() > static_cast<size_t>(kMostTokens)) {
    fail(ExitCode::model, {gguf.file, key, "1 to " + std::to_string(kMostTokens) + " tokens",
                           std::to_string(spec.tokens.size()), "convert the model again"});
  }
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    if (!find_invalid_utf8(spec.tokens[id])) continue;
    fail(ExitCode::model, {gguf.file, key + "[" + std::to_string(id) + "]", "valid UTF-8",
                           quote_value(spec.tokens[id]), "convert the model again"});
  }
}

void add_special_tokens(const std::vector<int64_t>& types, TokenizerSpec& spec) {
  for (size_t id = 0; id < types.size(); ++id) {
    const bool found = types[id] == kControl || types[id] == kUserDefined || types[id] == kUnknown;
    if (!found || spec.tokens[id].empty()) continue;
    AddedToken token;
    token.text = spec.tokens[id];
    token.id = static_cast<int32_t>(id);
    token.special = types[id] != kUserDefined;
    spec.added.push_back(std::move(token));
  }
}

void read_byte_level(const Gguf& gguf, TokenizerSpec& spec) {
  spec.byte_level = true;
  const std::string key = "tokenizer.ggml.pre";
  const std::string pre = gguf.has(key) ? gguf.string(key) : "default";
  auto steps = pre_tokenizer_of_gguf(pre);
  if (!steps) {
    fail(ExitCode::model, {gguf.file, key, known_pre_tokenizers(), quote_value(pre),
                           "use the model's Hugging Face directory, whose tokenizer.json has the pattern"});
  }
  spec.pre_tokenizer = std::move(*steps);
  spec.ignore_merges = pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3" || pre == "falcon3";
  const TokenIds ids = token_ids_of(spec.tokens);
  const std::vector<std::string> merges = gguf.strings("tokenizer.ggml.merges");
  for (size_t i = 0; i < merges.size(); ++i) {
    // No token begins with a space, so the first space behind the first character parts the two.
    const size_t space = merges[i].find(' ', 1);
    if (space == std::string::npos) {
      fail(ExitCode::model,
           {gguf.file, "tokenizer.ggml.merges, line " + std::to_string(i + 1),
            "two tokens and a space between", quote_value(merges[i]), "convert the model again"});
    }
    spec.merges.push_back(make_merge(ids, merges[i].substr(0, space), merges[i].substr(space + 1), i,
                                     gguf.file, "tokenizer.ggml.merges, line"));
  }
}

// Higher scores merge first; equal scores share a rank and then go from left to right, as in SentencePiece's
// bpe_model.cc.
std::vector<int32_t> ranks_of_scores(const std::vector<float>& scores) {
  std::vector<float> sorted = scores;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::vector<int32_t> ranks;
  for (const float score : scores) {
    const auto place = std::lower_bound(sorted.begin(), sorted.end(), score, std::greater<>());
    ranks.push_back(static_cast<int32_t>(place - sorted.begin()));
  }
  return ranks;
}

// SentencePiece has scores instead of merges: two neighbours merge when their joined text is a token.
void add_score_merges(const Gguf& gguf, const std::vector<int64_t>& types, TokenizerSpec& spec) {
  const std::string key = "tokenizer.ggml.scores";
  const std::vector<float> scores = gguf.numbers(key);
  const bool finite = std::all_of(scores.begin(), scores.end(), [](float s) { return std::isfinite(s); });
  if (scores.size() != spec.tokens.size() || !finite) {
    fail(ExitCode::model,
         {gguf.file, key, std::to_string(spec.tokens.size()) + " finite scores, one a token",
          finite ? std::to_string(scores.size()) : "a score that is not finite", "convert the model again"});
  }
  const std::vector<int32_t> ranks = ranks_of_scores(scores);
  std::vector<std::string> mergeable(spec.tokens.size());
  for (size_t id = 0; id < types.size(); ++id) {
    if (types[id] == kNormal || types[id] == kUserDefined || types[id] == kUnused)
      mergeable[id] = spec.tokens[id];
  }
  const TokenIds ids = token_ids_of(mergeable);
  constexpr size_t kLongestToken = 1024;  // splits cost its square
  for (size_t id = 0; id < mergeable.size(); ++id) {
    const std::string_view text = mergeable[id];
    if (text.size() > kLongestToken) continue;
    for (size_t at = 0; at < text.size();) {
      at += character_at(text, at).bytes;
      const auto left = ids.find(text.substr(0, at));
      const auto right = ids.find(text.substr(at));
      if (at == text.size() || left == ids.end() || right == ids.end()) continue;
      spec.merges.push_back({left->second, right->second, static_cast<int32_t>(id), ranks[id]});
    }
  }
}

void read_sentence_piece(const Gguf& gguf, const std::vector<int64_t>& types, TokenizerSpec& spec) {
  spec.byte_level = false;
  spec.byte_fallback = std::find(types.begin(), types.end(), kByte) != types.end();
  spec.fuse_unk = true;
  const std::string key = "tokenizer.ggml.unknown_token_id";
  spec.unk_id = gguf.has(key) ? token_id(gguf, key, spec) : 0;
  for (size_t id = 0; id < types.size(); ++id) {
    if (types[id] != kByte || byte_of_token(spec.tokens[id]) >= 0) continue;
    fail(ExitCode::model,
         {gguf.file, "tokenizer.ggml.tokens[" + std::to_string(id) + "]", "a byte token <0x00> to <0xFF>",
          quote_value(spec.tokens[id]), "convert the model again"});
  }
  add_score_merges(gguf, types, spec);
  if (gguf.boolean("tokenizer.ggml.add_space_prefix", true)) {
    spec.normalizer.push_back({NormalizeStep::Kind::prepend, "", kSpaceMark});
    spec.strip_space = true;
  }
  spec.normalizer.push_back({NormalizeStep::Kind::replace, " ", kSpaceMark});
}

}  // namespace

TokenizerSpec tokenizer_spec_of_gguf(const Gguf& gguf) {
  TokenizerSpec spec;
  spec.file = gguf.file;
  const std::string model = gguf.string("tokenizer.ggml.model");
  if (model != kByteLevelModel && model != kSentencePieceModel) {
    fail(ExitCode::model,
         {gguf.file, "tokenizer.ggml.model", "gpt2 (byte-level BPE) or llama (SentencePiece BPE)",
          quote_value(model), "use a model with one of these tokenizers"});
  }
  read_tokens(gguf, spec);
  const std::vector<int64_t> types = token_types(gguf, spec);
  const bool sentence_piece = model == kSentencePieceModel;
  sentence_piece ? read_sentence_piece(gguf, types, spec) : read_byte_level(gguf, spec);
  add_special_tokens(types, spec);
  spec.bos_id = token_id(gguf, "tokenizer.ggml.bos_token_id", spec);
  spec.eos_id = token_id(gguf, "tokenizer.ggml.eos_token_id", spec);
  const bool default_bos = sentence_piece || spec.ignore_merges;
  spec.adds_bos = spec.bos_id >= 0 && gguf.boolean("tokenizer.ggml.add_bos_token", default_bos);
  if (gguf.has("tokenizer.chat_template")) spec.chat_template = gguf.string("tokenizer.chat_template");
  return spec;
}

}  // namespace gorgon
