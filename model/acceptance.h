#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/draft_tree.h"

namespace gorgon {

// Greedy: the candidates that the backbone itself would have chosen. tokens [n] are those of the tree's
// nodes, choices [n] the backbone's next token after each node. A row is accepted while a node's token is its
// parent's choice; the longest row wins, the first on ties. Returns the accepted nodes from the root (0)
// down; the root always is.
std::vector<int32_t> accept_greedy(const TreeBuffers& tree, std::span<const int32_t> tokens,
                                   std::span<const int32_t> choices);

// Typical acceptance (Cai et al., "Medusa", 2024, section 2.3.1) at a temperature.
struct TypicalOptions {
  double temperature = 1;  // above 0
  double epsilon = 0.09;
  double alpha = 0.3;
};
// A node is accepted while p(its token) > min(epsilon, alpha * exp(-H(p))), p = softmax(z / T) after its
// parent. Among the longest rows the one with the largest sum of log p wins, the first on ties. logits
// f32[n, vocabulary].
std::vector<int32_t> accept_typical(const TreeBuffers& tree, std::span<const int32_t> tokens,
                                    std::span<const float> logits, const TypicalOptions& options);

// The largest value, the lowest id that has it, and the second largest (-infinity for one value alone).
struct TopTwo {
  int32_t id = 0;
  float top = 0, second = 0;
};
TopTwo top_two(std::span<const float> values);
inline int32_t argmax(std::span<const float> values) {
  return top_two(values).id;
}
// Token drawn from softmax(z / T) by `uniform` in [0, 1), ids in ascending order; temperature 0 is argmax.
// top_p below 1 keeps the most probable tokens up to that much probability, the one that crosses it included.
int32_t sample(std::span<const float> logits, double temperature, double top_p, double uniform);
// In [0, 1): a function of the seed, which sequence it is and which of its tokens is drawn.
double draw_uniform(uint64_t seed, uint64_t sequence, uint64_t position);

}  // namespace gorgon
