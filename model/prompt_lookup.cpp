#include "model/prompt_lookup.h"

#include <algorithm>

namespace gorgon {

std::vector<int32_t> prompt_lookup(std::span<const int32_t> text, const LookupOptions& options) {
  // The longest match that ends at i, over all i: one pass for every n at once.
  size_t best_end = 0;
  size_t best_length = 0;
  for (size_t end = text.size() - (text.empty() ? 0 : 1); end-- > 0;) {
    size_t length = 0;
    while (length <= end && length < static_cast<size_t>(options.max_ngram) &&
           text[end - length] == text[text.size() - 1 - length]) {
      ++length;
    }
    if (length > best_length) {
      best_length = length;
      best_end = end;
      if (length == static_cast<size_t>(options.max_ngram)) break;
    }
  }
  if (best_length == 0) return {};
  const size_t begin = best_end + 1;
  const size_t count = std::min(static_cast<size_t>(options.max_tokens), text.size() - begin);
  const auto copy = text.subspan(begin, count);
  return {copy.begin(), copy.end()};
}

}  // namespace gorgon
