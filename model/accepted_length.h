#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "model/draft_tree.h"

namespace gorgon {

// A backbone's own greedy answer to one prompt and what K heads thought of it. Step i starts at the state
// whose next token is tokens[i] (i = 0: the prompt's last token); head k then drafts tokens[i + k].
struct Continuation {
  std::vector<int32_t> tokens;  // [m] up to and with end-of-sequence, or to the cap
  // [m, K] number of tokens that head k prefers to tokens[i + k] (0 = its first choice); -1 where the answer
  // has no such token
  std::vector<int32_t> ranks;
  std::vector<int32_t> lookup;  // [m] tokens behind tokens[i] that a copy would have got right; or empty

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  std::span<const int32_t> ranks_at(int64_t i, int heads) const {
    return std::span(ranks).subspan(static_cast<size_t>(i * heads), static_cast<size_t>(heads));
  }
};

// The longest path of a tree that is right for given ranks.
class TreeMatcher {
 public:
  explicit TreeMatcher(const DraftTree& tree);
  int64_t accepted(std::span<const int32_t> ranks) const;  // ranks [K], K at least the tree's depth

 private:
  int32_t ranks_;
  std::vector<int32_t> child_;  // [n, ranks_] node number, or -1
};

// Tokens that each step of the walk emits: the root and the accepted tokens, t -> t + a_t + 1 over
// [0, length), cut at the end. accepted(i) is a_t of a step that starts at i.
std::vector<int32_t> simulate_walk(int64_t length, const std::function<int64_t(int64_t)>& accepted);
std::vector<int32_t> simulate_walk(const Continuation& continuation, const TreeMatcher& tree, int heads);

// Of one prompt, or of many.
struct WalkCounts {
  int64_t emitted = 0, steps = 0;
};
WalkCounts count_walk(const std::vector<int32_t>& emitted);
// tau = sum of emitted / sum of steps; 0 without steps.
double accept_length(const std::vector<WalkCounts>& prompts);

// Bootstrap interval of tau over prompts: quantiles 2.5 % and 97.5 % of `resamples` draws with replacement.
std::pair<double, double> bootstrap_interval(const std::vector<WalkCounts>& prompts, uint64_t seed,
                                             int resamples = 2000);

// The same of tau of `walks` over tau of `others`, which are walks of the same prompts: drawn together.
std::pair<double, double> bootstrap_gain_interval(const std::vector<WalkCounts>& walks,
                                                  const std::vector<WalkCounts>& others, uint64_t seed,
                                                  int resamples = 2000);

// Share of positions where head k's candidate of rank r is right: [K][ranks], over all positions at which
// the answer goes on for k tokens.
std::vector<std::vector<double>> marginal_accuracies(const std::vector<Continuation>& continuations,
                                                     int heads, int32_t ranks);
// 1 + the sum over paths of the product of marginals: what tau would be if heads were right independently.
double independent_accept_length(const DraftTree& tree, const std::vector<std::vector<double>>& marginals);
// [K] share of positions (those at which the answer goes on for k tokens) where heads 1..k are all right at
// their first choice.
std::vector<double> prefix_accuracies(const std::vector<Continuation>& continuations, int heads);

}  // namespace gorgon
