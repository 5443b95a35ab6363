#include "model/acceptance.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace gorgon {

namespace {

// The accepted part of a row: `fits(node, parent)` for each node behind the root. Padding ends it.
std::vector<int32_t> accepted_part(const std::vector<int32_t>& row,
                                   const std::function<bool(int32_t, int32_t)>& fits) {
  std::vector<int32_t> nodes = {0};
  for (size_t i = 1; i < row.size() && row[i] >= 0 && fits(row[i], row[i - 1]); ++i) nodes.push_back(row[i]);
  return nodes;
}

// softmax(z / T) of one node, as its largest logit and sum; entropy in nats.
struct Distribution {
  double largest = 0, log_sum = 0, entropy = 0;
  double log_probability(double z, double temperature) const { return (z - largest) / temperature - log_sum; }
};

Distribution distribution(std::span<const float> logits, double temperature) {
  Distribution d;
  d.largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0, weighted = 0;
  for (const float z : logits) {
    const double x = (static_cast<double>(z) - d.largest) / temperature;
    const double e = std::exp(x);
    sum += e;
    if (e > 0) weighted += e * x;
  }
  d.log_sum = std::log(sum);
  d.entropy = d.log_sum - weighted / sum;
  return d;
}

}  // namespace

std::vector<int32_t> accept_greedy(const TreeBuffers& tree, std::span<const int32_t> tokens,
                                   std::span<const int32_t> choices) {
  require(std::cmp_equal(tokens.size(), tree.nodes()) && choices.size() == tokens.size(), "accept_greedy",
          "one token and one choice for each node");
  std::vector<int32_t> best;
  for (const std::vector<int32_t>& row : tree.retrieve) {
    std::vector<int32_t> nodes = accepted_part(row, [&](int32_t node, int32_t parent) {
      return tokens[static_cast<size_t>(node)] == choices[static_cast<size_t>(parent)];
    });
    if (nodes.size() > best.size()) best = std::move(nodes);
  }
  return best;
}

std::vector<int32_t> accept_typical(const TreeBuffers& tree, std::span<const int32_t> tokens,
                                    std::span<const float> logits, const TypicalOptions& options) {
  const auto n = static_cast<size_t>(tree.nodes());
  require(tokens.size() == n && logits.size() % n == 0, "accept_typical", "one row of logits for each node");
  const size_t vocabulary = logits.size() / n;
  std::vector<std::optional<Distribution>> after(n);
  const auto log_probability = [&](int32_t node, int32_t parent, double& threshold) {
    const auto z = logits.subspan(static_cast<size_t>(parent) * vocabulary, vocabulary);
    std::optional<Distribution>& d = after[static_cast<size_t>(parent)];
    if (!d) d = distribution(z, options.temperature);
    threshold = std::min(options.epsilon, options.alpha * std::exp(-d->entropy));
    return d->log_probability(z[static_cast<size_t>(tokens[static_cast<size_t>(node)])], options.temperature);
  };
  std::vector<int32_t> best;
  double best_sum = 0;
  for (const std::vector<int32_t>& row : tree.retrieve) {
    double sum = 0;
    std::vector<int32_t> nodes = accepted_part(row, [&](int32_t node, int32_t parent) {
      double threshold = 0;
      const double log_p = log_probability(node, parent, threshold);
      if (!(std::exp(log_p) > threshold)) return false;
      sum += log_p;
      return true;
    });
    if (nodes.size() > best.size() || (nodes.size() == best.size() && sum > best_sum)) {
      best = std::move(nodes);
      best_sum = sum;
    }
  }
  return best;
}

TopTwo top_two(std::span<const float> values) {
  // Maxima of pieces first, in lanes that compilers turn into vectors: a vocabulary's worth of branches would
  // cost more than the product that made the logits.
  constexpr size_t kLanes = 16, kPiece = 256;
  TopTwo best{0, -std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  size_t best_begin = 0;
  for (size_t begin = 0; begin < values.size(); begin += kPiece) {
    const size_t end = std::min(values.size(), begin + kPiece);
    float lanes[kLanes];
    std::fill_n(lanes, kLanes, -std::numeric_limits<float>::infinity());
    size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (size_t j = 0; j < kLanes; ++j) lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
    }
    for (; i < end; ++i) lanes[0] = std::max(lanes[0], values[i]);
    const float top = *std::max_element(lanes, lanes + kLanes);
    if (top > best.top) {
      best.second = best.top;
      best.top = top;
      best_begin = begin;
    } else {
      best.second = std::max(best.second, top);
    }
  }
  const auto piece = values.subspan(best_begin, std::min(kPiece, values.size() - best_begin));
  const auto at = std::find(piece.begin(), piece.end(), best.top);
  for (auto other = piece.begin(); other != piece.end(); ++other) {
    if (other != at) best.second = std::max(best.second, *other);
  }
  best.id = static_cast<int32_t>(best_begin + static_cast<size_t>(at - piece.begin()));
  return best;
}

int32_t sample(std::span<const float> logits, double temperature, double top_p, double uniform) {
  if (temperature <= 0) return argmax(logits);
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> weights(logits.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = std::exp((static_cast<double>(logits[i]) - largest) / temperature);
  }
  double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (top_p < 1) {
    std::vector<int32_t> order(weights.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return weights[static_cast<size_t>(a)] > weights[static_cast<size_t>(b)];
    });
    double kept = 0;
    for (const int32_t id : order) {
      double& weight = weights[static_cast<size_t>(id)];
      if (kept >= top_p * sum) {
        weight = 0;
      } else {
        kept += weight;
      }
    }
    sum = kept;
  }
  double left = uniform * sum;
  int32_t last = argmax(logits);
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    last = static_cast<int32_t>(i);
    left -= weights[i];
    if (left < 0) break;
  }
  return last;
}

double draw_uniform(uint64_t seed, uint64_t sequence, uint64_t position) {
  const auto bits = philox(seed, position, sequence);
  return (static_cast<double>(bits[0]) + static_cast<double>(bits[1] >> 11) * 0x1p32) * 0x1p-53;
}

}  // namespace gorgon
