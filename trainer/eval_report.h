#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "trainer/decode_evaluation.h"

namespace gorgon {

// What `eval` prints and writes of the decoding of a set of prompts.

// Keys draft (of which tree_tau, speedup, overhead and exact_match speak: heads, else both; null, as these
// are but for exact_match, where lookup alone was decoded), own_answers {loss, heads} (the labels being what
// the model itself answers), chain_tau, tree_tau, plain, medusa, lookup, both, speedup, overhead, prompts,
// tokens, exact_match, divergences, depths [{tau, step_s}] (of the tree cut at depth 0..K), batches, verdict;
// drafts that were not decoded are left out. Each draft, and the main one at the top level, also has
// tau_over_overhead, which its speedup should be near. Of sampled answers all that compares with plain or
// simulated decoding is null. loss_weights[k]: the coefficient of head k's cross-entropy in the loss.
nlohmann::ordered_json decode_json(const DecodeEvaluation& evaluation,
                                   const std::vector<double>& loss_weights);

// Loss and hits of heads: {loss, heads[{ce, top1..top5, prefix, count}]}; prefix is [K], or empty where none
// is known: then null, as are shares and losses over no targets at all. It always is of the model's own
// answers, whatever the labels.
nlohmann::ordered_json heads_json(const std::vector<HeadSums>& heads, const std::vector<double>& prefix,
                                  const std::vector<double>& loss_weights);
std::string heads_table(const std::vector<HeadSums>& heads, const std::vector<double>& prefix);

// Tables of heads, drafts and batch sizes for a terminal.
std::string decode_table(const DecodeEvaluation& evaluation);

}  // namespace gorgon
