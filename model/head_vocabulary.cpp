#include "model/head_vocabulary.h"

#include <algorithm>
#include <numeric>

#include "kernels/error.h"

namespace gorgon {

TokenCounts count_tokens(std::span<const int32_t> tokens, std::span<const int32_t> labels,
                         std::span<const int64_t> offsets, int64_t vocabulary) {
  TokenCounts counts;
  counts.in_all.resize(static_cast<size_t>(vocabulary));
  counts.as_target.resize(static_cast<size_t>(vocabulary));
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    for (int64_t t = offsets[s]; t < offsets[s + 1]; ++t) {
      const auto token = static_cast<size_t>(tokens[static_cast<size_t>(t)]);
      require(token < counts.in_all.size(), "count_tokens", "a token outside the vocabulary");
      ++counts.in_all[token];
      if (t >= offsets[s] + 2 && labels[static_cast<size_t>(t)] >= 0) ++counts.as_target[token];
    }
  }
  return counts;
}

std::vector<int32_t> choose_vocabulary(int64_t choice, const TokenCounts& counts) {
  const auto vocabulary = std::ssize(counts.in_all);
  require(choice <= vocabulary, "choose_vocabulary", "more tokens than there are");
  if (choice == kFullVocabulary || choice == vocabulary) return {};
  std::vector<int32_t> ids(static_cast<size_t>(vocabulary));
  std::iota(ids.begin(), ids.end(), 0);
  const auto targets = [&](int32_t id) { return counts.as_target[static_cast<size_t>(id)]; };
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    if (targets(a) != targets(b)) return targets(a) > targets(b);
    if (targets(a) > 0) return false;
    return counts.in_all[static_cast<size_t>(a)] > counts.in_all[static_cast<size_t>(b)];
  });
  const auto seen = std::count_if(counts.as_target.begin(), counts.as_target.end(),
                                  [](int64_t count) { return count > 0; });
  ids.resize(static_cast<size_t>(choice == kSeenVocabulary ? seen : choice));
  std::sort(ids.begin(), ids.end());
  return ids;
}

int32_t column_of(std::span<const int32_t> ids, int32_t token) {
  if (ids.empty()) return token;
  const auto found = std::lower_bound(ids.begin(), ids.end(), token);
  return found == ids.end() || *found != token ? -1 : static_cast<int32_t>(found - ids.begin());
}

}  // namespace gorgon
