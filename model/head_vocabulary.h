#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gorgon {

// Which tokens heads can predict: `medusa_vocab`.
constexpr int64_t kFullVocabulary = 0;   // every token of the backbone
constexpr int64_t kSeenVocabulary = -1;  // those that are targets in the training data; N > 0: so many tokens

// How often each token occurs in the training data, [V] each.
struct TokenCounts {
  std::vector<int64_t> as_target;  // as the target of some head
  std::vector<int64_t> in_all;     // anywhere
};
// Flat tokens and labels of sequences with `offsets`; a head's target lies at least two places behind the
// start of its sequence and has a label. Tokens must be below `vocabulary`.
TokenCounts count_tokens(std::span<const int32_t> tokens, std::span<const int32_t> labels,
                         std::span<const int64_t> offsets, int64_t vocabulary);

// The ids of a choice of vocabulary, ascending; empty = all of them. N tokens are the targets first, the most
// frequent ones, then the others by their frequency in the data; the lower id first of equals. `choice` is at
// most the vocabulary.
std::vector<int32_t> choose_vocabulary(int64_t choice, const TokenCounts& counts);

// Index of `token` in ascending ids; -1 where it is not among them. Empty ids are all tokens.
int32_t column_of(std::span<const int32_t> ids, int32_t token);

}  // namespace gorgon
