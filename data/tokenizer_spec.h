#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/bpe.h"
#include "data/pre_tokenizer.h"
#include "data/token_splitter.h"

namespace gorgon {

struct Gguf;

// Everything that defines a tokenizer, whichever file it comes from.
struct TokenizerSpec {
  std::string file;  // named in errors
  // Byte-level: words are bytes, tokens are written in GPT-2's byte alphabet. Otherwise (SentencePiece) words
  // are characters, and a character without a token becomes its bytes' tokens <0x00> to <0xFF>, or unk_id.
  bool byte_level = true;
  std::vector<std::string> tokens;  // text of each id as it stands in the vocabulary; "" where there is none
  std::vector<BpeMerge> merges;
  std::vector<AddedToken> added;
  std::vector<NormalizeStep> normalizer;
  std::vector<SplitStep> pre_tokenizer;
  bool ignore_merges = false;  // a word that is a token is taken whole
  bool byte_fallback = false;
  bool fuse_unk = false;     // neighbouring unknown characters become one unk_id
  int32_t unk_id = -1;       // -1: what has no token is left out, as Hugging Face's tokenizers do
  bool strip_space = false;  // decode takes off the space that encode put before a text
  int32_t bos_id = -1;
  int32_t eos_id = -1;
  bool adds_bos = false;
  std::string chat_template;
};

// Throw Error(model): ids that are double or too large, merges of absent tokens with their number, byte
// tokens that are none, models and steps that are unknown.
TokenizerSpec tokenizer_spec_of_gguf(const Gguf& gguf);
TokenizerSpec tokenizer_spec_of_directory(const std::filesystem::path& directory);

// Ids are bounded: an embedding of more rows does not exist.
inline constexpr int32_t kMostTokens = 1 << 24;

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using TokenIds = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

// Of several tokens of one text the last counts; "" is none.
TokenIds token_ids_of(const std::vector<std::string>& tokens);

// The merge of two tokens; `place` (a line or a key with a number) is named in errors.
BpeMerge make_merge(const TokenIds& ids, const std::string& left, const std::string& right, size_t rank,
                    const std::string& file, const std::string& key);

// The byte of <0x00> to <0xFF>; -1 where the token is another.
int byte_of_token(std::string_view token);

// "▁" (U+2581), which stands for a space in SentencePiece's vocabularies.
inline constexpr const char* kSpaceMark = "\xE2\x96\x81";

}  // namespace gorgon
