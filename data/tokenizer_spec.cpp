#include "data/tokenizer_spec.h"

#include <cctype>

#include "kernels/error.h"

namespace gorgon {

TokenIds token_ids_of(const std::vector<std::string>& tokens) {
  TokenIds ids;
  ids.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (!tokens[id].empty()) ids.insert_or_assign(tokens[id], static_cast<int32_t>(id));
  }
  return ids;
}

BpeMerge make_merge(const TokenIds& ids, const std::string& left, const std::string& right, size_t rank,
                    const std::string& file, const std::string& key) {
  const auto id_of = [&](const std::string& token) {
    const auto found = ids.find(token);
    if (found == ids.end()) {
      fail(ExitCode::model, {file, key + " " + std::to_string(rank + 1), "tokens of the vocabulary",
                             quote_value(token), "take vocabulary and merges from the same tokenizer"});
    }
    return found->second;
  };
  return {id_of(left), id_of(right), id_of(left + right), static_cast<int32_t>(rank)};
}

int byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int byte = 0;
  for (const char c : token.substr(3, 2)) {
    if (!std::isxdigit(static_cast<unsigned char>(c))) return -1;
    byte = byte * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return byte;
}

}  // namespace gorgon
