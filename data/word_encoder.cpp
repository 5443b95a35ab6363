#include "data/word_encoder.h"

#include <algorithm>

#include "data/byte_alphabet.h"
#include "data/unicode.h"

namespace gorgon {
namespace {

constexpr size_t kCacheEntries = 1 << 12;  // a power of two
constexpr size_t kLongestCached = 48;      // bytes; longer words hardly come twice

// Texts of the tokens as words have them: bytes, not GPT-2's alphabet.
TokenIds word_ids(const TokenizerSpec& spec) {
  if (!spec.byte_level) return token_ids_of(spec.tokens);
  TokenIds ids;
  ids.reserve(spec.tokens.size());
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    auto bytes = bytes_of_alphabet(spec.tokens[id]);
    if (bytes && !bytes->empty()) ids.insert_or_assign(std::move(*bytes), static_cast<int32_t>(id));
  }
  return ids;
}

// True where every merge keeps space marks at the front of its token. Then text before a mark never joins it,
// and cutting there gives the same tokens as merging a whole line at once, which costs far more.
bool space_marks_lead(const TokenizerSpec& spec, const TokenIds& ids) {
  if (spec.byte_level || spec.ignore_merges || !ids.contains(std::string_view(kSpaceMark))) return false;
  return std::none_of(spec.merges.begin(), spec.merges.end(), [&](const BpeMerge& merge) {
    return spec.tokens[static_cast<size_t>(merge.right)].starts_with(kSpaceMark) &&
           !spec.tokens[static_cast<size_t>(merge.left)].ends_with(kSpaceMark);
  });
}

}  // namespace

WordEncoder::WordEncoder(const TokenizerSpec& spec)
    : byte_level_(spec.byte_level),
      ignore_merges_(spec.ignore_merges),
      byte_fallback_(spec.byte_fallback),
      fuse_unk_(spec.fuse_unk),
      unk_id_(spec.unk_id),
      ids_(word_ids(spec)),
      merges_(spec.merges) {
  cut_at_spaces_ = space_marks_lead(spec, ids_);
  byte_ids_.fill(-1);
  for (int byte = 0; byte < 256 && byte_level_; ++byte) {
    const auto found = ids_.find(std::string(1, static_cast<char>(byte)));
    if (found != ids_.end()) byte_ids_[static_cast<size_t>(byte)] = found->second;
  }
  for (size_t id = 0; id < spec.tokens.size() && !byte_level_; ++id) {
    const int byte = byte_of_token(spec.tokens[id]);
    if (byte >= 0) byte_ids_[static_cast<size_t>(byte)] = static_cast<int32_t>(id);
  }
}

void WordEncoder::add_unknown(std::string_view character, std::vector<BpeSymbol>& symbols) const {
  const auto id_of = [this](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  const bool has_bytes = byte_fallback_ && std::all_of(character.begin(), character.end(),
                                                       [&](char c) { return id_of(c) >= 0; });
  if (has_bytes) {
    for (const char c : character) symbols.push_back({id_of(c), 1});
  } else if (fuse_unk_ && !symbols.empty() && symbols.back().id == unk_id_) {
    symbols.back().bytes += static_cast<int32_t>(character.size());
  } else {
    symbols.push_back({unk_id_, static_cast<int32_t>(character.size())});
  }
}

void WordEncoder::split_characters(std::string_view word, std::vector<BpeSymbol>& symbols) const {
  if (byte_level_) {
    for (const char c : word) {
      const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
      symbols.push_back({id >= 0 ? id : unk_id_, 1});
    }
    return;
  }
  for (size_t at = 0; at < word.size();) {
    const std::string_view character = word.substr(at, character_at(word, at).bytes);
    const auto found = ids_.find(character);
    if (found != ids_.end()) {
      symbols.push_back({found->second, static_cast<int32_t>(character.size())});
    } else {
      add_unknown(character, symbols);
    }
    at += character.size();
  }
}

void WordEncoder::merge(std::string_view word, std::vector<BpeSymbol>& symbols) const {
  symbols.clear();
  if (ignore_merges_) {
    const auto found = ids_.find(word);
    if (found != ids_.end()) {
      symbols.push_back({found->second, static_cast<int32_t>(word.size())});
      return;
    }
  }
  split_characters(word, symbols);
  merges_.apply(symbols);
}

std::span<const BpeSymbol> WordEncoder::merge_cached(std::string_view word, Scratch& scratch) const {
  if (word.size() > kLongestCached) {
    merge(word, scratch.long_word_);
    return scratch.long_word_;
  }
  if (scratch.cache_.empty()) scratch.cache_.resize(kCacheEntries);
  Scratch::Entry& entry = scratch.cache_[std::hash<std::string_view>()(word) % kCacheEntries];
  if (entry.word != word) {
    entry.word = word;
    merge(word, entry.symbols);
  }
  return entry.symbols;
}

std::span<const BpeSymbol> WordEncoder::encode(std::string_view word, Scratch& scratch) const {
  if (!cut_at_spaces_) return merge_cached(word, scratch);
  scratch.symbols_.clear();
  const std::string_view mark = kSpaceMark;
  for (size_t begin = 0; begin < word.size();) {
    size_t end = begin;
    while (word.substr(end).starts_with(mark)) end += mark.size();
    end = std::min(word.find(mark, end), word.size());
    const auto symbols = merge_cached(word.substr(begin, end - begin), scratch);
    scratch.symbols_.insert(scratch.symbols_.end(), symbols.begin(), symbols.end());
    begin = end;
  }
  return scratch.symbols_;
}

}  // namespace gorgon
