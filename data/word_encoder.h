#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/bpe.h"
#include "data/tokenizer_spec.h"

namespace gorgon {

// Turns the words of a pre-tokenised text into tokens. Const and usable from several threads.
class WordEncoder {
 public:
  // Buffers and a cache of words, for the words of one call.
  class Scratch {
    friend class WordEncoder;
    struct Entry {
      std::string word;
      std::vector<BpeSymbol> symbols;
    };
    std::vector<Entry> cache_;  // at the hash of the word; the last of several stays
    std::vector<BpeSymbol> long_word_, symbols_;
  };

  explicit WordEncoder(const TokenizerSpec& spec);

  // Tokens of one word with the bytes of it that each covers; they add up to the word. An id of -1 is text
  // that no token can stand for. Valid until the next call with this scratch.
  std::span<const BpeSymbol> encode(std::string_view word, Scratch& scratch) const;

 private:
  void split_characters(std::string_view word, std::vector<BpeSymbol>& symbols) const;
  void add_unknown(std::string_view character, std::vector<BpeSymbol>& symbols) const;
  void merge(std::string_view word, std::vector<BpeSymbol>& symbols) const;
  std::span<const BpeSymbol> merge_cached(std::string_view word, Scratch& scratch) const;

  bool byte_level_, ignore_merges_, byte_fallback_, fuse_unk_;
  bool cut_at_spaces_;  // no merge joins what stands before a space mark with it
  int32_t unk_id_;
  std::array<int32_t, 256> byte_ids_;  // byte-level: of each byte; else of <0x00> to <0xFF>; -1: none
  TokenIds ids_;
  BpeTable merges_;
};

}  // namespace gorgon
