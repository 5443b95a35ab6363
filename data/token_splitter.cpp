#include "data/token_splitter.h"

#include <algorithm>

#include "data/unicode.h"

namespace gorgon {
namespace {

bool within_word(std::string_view text, size_t begin, size_t end) {
  const bool before = begin > 0 && is_word_character(character_before(text, begin).code);
  const bool behind = end < text.size() && is_word_character(character_at(text, end).code);
  return before || behind;
}

}  // namespace

TokenSplitter::TokenSplitter(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), nodes_(1) {
  for (size_t t = 0; t < tokens_.size(); ++t) {
    if (tokens_[t].text.empty()) continue;
    if (first_bytes_.find(tokens_[t].text[0]) == std::string::npos) first_bytes_ += tokens_[t].text[0];
    uint32_t node = 0;
    for (const char c : tokens_[t].text) {
      const auto byte = static_cast<unsigned char>(c);
      auto& edges = nodes_[node].edges;
      const auto edge =
          std::find_if(edges.begin(), edges.end(), [byte](const auto& e) { return e.first == byte; });
      if (edge != edges.end()) {
        node = edge->second;
        continue;
      }
      edges.emplace_back(byte, static_cast<uint32_t>(nodes_.size()));
      node = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
    }
    if (nodes_[node].token < 0) nodes_[node].token = static_cast<int32_t>(t);
  }
}

int32_t TokenSplitter::find(std::string_view text, size_t at) const {
  int32_t longest = -1;
  uint32_t node = 0;
  for (size_t end = at; end < text.size();) {
    const auto byte = static_cast<unsigned char>(text[end]);
    const auto& edges = nodes_[node].edges;
    const auto edge =
        std::find_if(edges.begin(), edges.end(), [byte](const auto& e) { return e.first == byte; });
    if (edge == edges.end()) break;
    node = edge->second;
    ++end;
    const int32_t token = nodes_[node].token;
    if (token >= 0) {
      const bool hidden = tokens_[static_cast<size_t>(token)].single_word && within_word(text, at, end);
      if (!hidden) longest = token;
    }
  }
  return longest;
}

void TokenSplitter::run(std::string_view text,
                        const std::function<void(size_t, size_t, int32_t)>& emit) const {
  size_t done = 0;
  size_t at = 0;
  while (!tokens_.empty()) {
    at = text.find_first_of(first_bytes_, at);
    if (at == std::string_view::npos) break;
    const int32_t found = find(text, at);
    if (found < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(found)];
    size_t begin = at;
    size_t end = at + token.text.size();
    while (token.lstrip && begin > done && is_white_space(character_before(text, begin).code)) {
      begin -= character_before(text, begin).bytes;
    }
    while (token.rstrip && end < text.size() && is_white_space(character_at(text, end).code)) {
      end += character_at(text, end).bytes;
    }
    if (begin > done) emit(done, begin, -1);
    emit(begin, end, token.id);
    done = at = end;
  }
  if (done < text.size()) emit(done, text.size(), -1);
}

}  // namespace gorgon
