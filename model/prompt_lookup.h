#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gorgon {

// A draft without any training: answers often copy from their prompt (and from themselves).
struct LookupOptions {
  int max_ngram = 3;   // tokens to match, tried from here down to 1
  int max_tokens = 8;  // to copy
};

// Looks for the last n tokens of `text` (prompt and answer so far) earlier in it, the most recent occurrence
// of the longest n first, and returns what followed there: at most max_tokens, never the end itself. Empty
// where the last token is new.
std::vector<int32_t> prompt_lookup(std::span<const int32_t> text, const LookupOptions& options);

}  // namespace gorgon
