#include "model/accepted_length.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace gorgon {

TreeMatcher::TreeMatcher(const DraftTree& tree) : ranks_(std::max(1, tree.ranks())) {
  const std::vector<int32_t> parent = tree_parents(tree);
  child_.assign(parent.size() * static_cast<size_t>(ranks_), -1);
  for (size_t i = 1; i < parent.size(); ++i) {
    child_[static_cast<size_t>(parent[i] * ranks_ + tree.paths[i - 1].back())] = static_cast<int32_t>(i);
  }
}

int64_t TreeMatcher::accepted(std::span<const int32_t> ranks) const {
  int32_t node = 0;
  int64_t depth = 0;
  for (const int32_t rank : ranks) {
    if (rank < 0 || rank >= ranks_) break;
    node = child_[static_cast<size_t>(node * ranks_ + rank)];
    if (node < 0) break;
    ++depth;
  }
  return depth;
}

std::vector<int32_t> simulate_walk(int64_t length, const std::function<int64_t(int64_t)>& accepted) {
  std::vector<int32_t> emitted;
  for (int64_t i = 0; i < length; i += emitted.back()) {
    emitted.push_back(static_cast<int32_t>(std::min(1 + accepted(i), length - i)));
  }
  return emitted;
}

std::vector<int32_t> simulate_walk(const Continuation& continuation, const TreeMatcher& tree, int heads) {
  return simulate_walk(continuation.length(),
                       [&](int64_t i) { return tree.accepted(continuation.ranks_at(i, heads)); });
}

WalkCounts count_walk(const std::vector<int32_t>& emitted) {
  WalkCounts counts;
  for (const int32_t tokens : emitted) counts.emitted += tokens;
  counts.steps = static_cast<int64_t>(emitted.size());
  return counts;
}

double accept_length(const std::vector<WalkCounts>& prompts) {
  WalkCounts all;
  for (const WalkCounts& prompt : prompts) {
    all.emitted += prompt.emitted;
    all.steps += prompt.steps;
  }
  return all.steps == 0 ? 0.0 : static_cast<double>(all.emitted) / static_cast<double>(all.steps);
}

namespace {

// Quantiles 2.5 % and 97.5 % of `statistic` over draws of `count` prompts with replacement.
std::pair<double, double> bootstrap(size_t count, uint64_t seed, int resamples,
                                    const std::function<double(const std::vector<size_t>&)>& statistic) {
  if (count == 0 || resamples <= 0) return {0.0, 0.0};
  std::vector<double> values;
  std::vector<size_t> drawn(count);
  for (int resample = 0; resample < resamples; ++resample) {
    for (size_t i = 0; i < count; ++i) {
      // 32 random bits scaled to the number of prompts: biased by at most prompts / 2^32.
      const uint64_t bits = philox(seed, i, static_cast<uint64_t>(resample))[0];
      drawn[i] = static_cast<size_t>(bits * count >> 32);
    }
    values.push_back(statistic(drawn));
  }
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    return values[static_cast<size_t>(std::lround(q * static_cast<double>(values.size() - 1)))];
  };
  return {quantile(0.025), quantile(0.975)};
}

double drawn_accept_length(const std::vector<WalkCounts>& prompts, const std::vector<size_t>& drawn) {
  WalkCounts all;
  for (const size_t i : drawn) {
    all.emitted += prompts[i].emitted;
    all.steps += prompts[i].steps;
  }
  return all.steps == 0 ? 0.0 : static_cast<double>(all.emitted) / static_cast<double>(all.steps);
}

}  // namespace

std::pair<double, double> bootstrap_interval(const std::vector<WalkCounts>& prompts, uint64_t seed,
                                             int resamples) {
  return bootstrap(prompts.size(), seed, resamples,
                   [&](const std::vector<size_t>& drawn) { return drawn_accept_length(prompts, drawn); });
}

std::pair<double, double> bootstrap_gain_interval(const std::vector<WalkCounts>& walks,
                                                  const std::vector<WalkCounts>& others, uint64_t seed,
                                                  int resamples) {
  require(walks.size() == others.size(), "bootstrap_gain_interval", "walks of the same prompts");
  return bootstrap(walks.size(), seed, resamples, [&](const std::vector<size_t>& drawn) {
    const double base = drawn_accept_length(others, drawn);
    return base > 0 ? drawn_accept_length(walks, drawn) / base : 0.0;
  });
}

std::vector<std::vector<double>> marginal_accuracies(const std::vector<Continuation>& continuations,
                                                     int heads, int32_t ranks) {
  std::vector<std::vector<double>> marginals(static_cast<size_t>(heads),
                                             std::vector<double>(static_cast<size_t>(ranks), 0.0));
  for (int k = 0; k < heads; ++k) {
    std::vector<double>& hits = marginals[static_cast<size_t>(k)];
    int64_t positions = 0;
    for (const Continuation& continuation : continuations) {
      for (int64_t i = 0; i < continuation.length(); ++i) {
        const int32_t rank = continuation.ranks_at(i, heads)[static_cast<size_t>(k)];
        if (rank >= 0) ++positions;
        if (rank >= 0 && rank < ranks) hits[static_cast<size_t>(rank)] += 1;
      }
    }
    for (double& hit : hits) hit /= static_cast<double>(std::max<int64_t>(positions, 1));
  }
  return marginals;
}

double independent_accept_length(const DraftTree& tree, const std::vector<std::vector<double>>& marginals) {
  double sum = 1;
  for (const RankPath& path : tree.paths) {
    double product = 1;
    for (size_t k = 0; k < path.size(); ++k) product *= marginals.at(k).at(static_cast<size_t>(path[k]));
    sum += product;
  }
  return sum;
}

std::vector<double> prefix_accuracies(const std::vector<Continuation>& continuations, int heads) {
  std::vector<int64_t> right(static_cast<size_t>(heads), 0), positions(static_cast<size_t>(heads), 0);
  for (const Continuation& continuation : continuations) {
    for (int64_t i = 0; i < continuation.length(); ++i) {
      bool all_right = true;
      const auto ranks = continuation.ranks_at(i, heads);
      for (size_t k = 0; k < ranks.size() && ranks[k] >= 0; ++k) {
        all_right = all_right && ranks[k] == 0;
        ++positions[k];
        right[k] += all_right ? 1 : 0;
      }
    }
  }
  std::vector<double> shares;
  for (size_t k = 0; k < right.size(); ++k) {
    shares.push_back(static_cast<double>(right[k]) / static_cast<double>(std::max<int64_t>(positions[k], 1)));
  }
  return shares;
}

}  // namespace gorgon
