#pragma once

#include <string>
#include <vector>

#include "trainer/decode_evaluation.h"

namespace gorgon {

// What follows from the numbers of an evaluation.

// Against plain decoding: of tokens per second, and of the seconds of a step (overhead c).
double speedup(const DecodeEvaluation& evaluation, const DraftResult& result);
double overhead(const DecodeEvaluation& evaluation, const DraftResult& result);
// What the speed-up should be, by the tokens of all prompts: tokens a forward with the draft over those of
// plain decoding, over the overhead. That is tau / overhead but for last roots, which end answers without a
// forward.
double tau_over_overhead(const DecodeEvaluation& evaluation, const DraftResult& result);

// A line for each draft whose speed-up is more than 10 % off that: then the timed prompts are not like all.
// Where all are timed both are the same.
std::vector<std::string> speed_warnings(const DecodeEvaluation& evaluation);

// One line for each head ("head 3 adds 0.03 tokens a step at 4 % cost: drop it") and one for the whole ("do
// not train: lookup gains more").
//
// Head k is worth keeping where tokens per step grow by more than a step's cost does when the tree, cut at
// depth k - 1, is cut at depth k instead: depth_tau[k] / depth_tau[k - 1] > depth_seconds[k] /
// depth_seconds[k - 1] (at least 1). The nodes that are verified on its account are part of its cost. Both
// are known within intervals, depth_gain and depth_cost; where these overlap nothing is decided.
//
// Of two drafts one is faster where its slowest run is faster than the other's fastest; else "no difference
// measured". Heads have to be faster than lookup, which needs no training, and a tree of one node is plain
// decoding. Where decoding was not lossless, or no answer went on behind its first token, one line says that
// there is no verdict.
std::vector<std::string> verdicts(const DecodeEvaluation& evaluation);

}  // namespace gorgon
