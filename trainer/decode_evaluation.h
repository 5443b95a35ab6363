#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "trainer/decode_speed.h"
#include "trainer/rank_share.h"
#include "trainer/traces.h"

namespace gorgon {

struct DecodeEvaluationOptions {
  DraftTree tree;             // of the heads
  std::vector<Draft> drafts;  // to decode with, beside plain
  int64_t max_new_tokens = 128;
  double temperature = 0;
  uint64_t seed = 0;
  std::vector<int32_t> stop_tokens;
  int64_t speed_prompts = 16;  // that are timed three times, and at each batch size
  std::vector<int64_t> batches = {1, 4, 16};
};

// A first token that differs from plain decoding; a stop token that ends one of the answers is one, too. A
// tie is decided by rounding: its margin is at most twice the largest difference of logits between kernel
// shapes. Anything else is a failure; also an answer that only goes on, or only ends, where plain decoding's
// does not: that no choice of a token explains.
struct Divergence {
  int64_t prompt = 0, index = 0;
  float margin = 0;  // between plain decoding's two best tokens there
  bool failure = false;
};

// Unset where the tokens are the same. logit_difference: the largest between kernel shapes.
std::optional<Divergence> first_divergence(const Answer& plain, const Answer& other, float logit_difference);

struct DraftResult {
  Draft draft = Draft::plain;
  Speed speed;               // over the first speed_prompts prompts
  double accept_length = 1;  // tau, measured
  std::pair<double, double> interval{1, 1};
  double forward_tokens = 1;       // tokens a forward: a last root that ends an answer takes a step but none
  double simulated = 1;            // the walk over ranks and copies; equal in f32
  int64_t walk_differences = 0;    // prompts whose steps were not those of the walk
  std::vector<int64_t> histogram;  // [accepted tokens] steps
  int64_t exact = 0;               // prompts with plain decoding's tokens
  std::vector<Divergence> divergences;
};

// A draft beside plain decoding at one batch size, in runs by turns.
struct BatchSpeed {
  int64_t batch = 1;
  // The first prompts, as many as are timed or twice the batch; repeated where there are fewer.
  int64_t requests = 0;
  Draft draft = Draft::heads;
  Speed plain, drafted;

  double speedup() const { return drafted.tokens_per_s / plain.tokens_per_s; }
  // tau that these runs would have needed to be as fast as plain decoding. At most drafted.accept_length just
  // where speedup() is at least 1: how full forwards are with and without drafts counts as it does there.
  double break_even() const { return drafted.accept_length / speedup(); }
};

struct DecodeEvaluation {
  int64_t prompts = 0, tokens = 0;
  int64_t timed_prompts = 0;    // the first ones, whose speed was measured
  std::vector<HeadSums> heads;  // against the backbone's own answers
  std::vector<double> prefix;   // [K]
  // [K + 1] the tree cut at depth k: tau of its walk (simulated), and what a step with it costs here,
  // measured by measure_step_costs: the nodes to verify and heads 1..k. Seconds only where heads were
  // decoded.
  std::vector<double> depth_tau, depth_seconds;
  // [K + 1] of the change from depth k - 1 to k, in times: the 95 % interval of tau over prompts, and the
  // smallest and largest of kTimedRuns measurements of the seconds, below 1 counted as 1. Of k = 0 nothing.
  std::vector<std::pair<double, double>> depth_gain, depth_cost;
  int64_t tree_nodes = 1;  // of the heads' tree; with one node it is plain decoding
  double chain_tau = 1, independent_tau = 1;
  double temperature = 0;
  bool exact_arithmetic = false;     // f32: every token and step has to be the same
  float logit_difference = 0;        // largest between kernel shapes
  std::vector<DraftResult> results;  // plain first
  std::vector<BatchSpeed> batches;   // by batch size: of the heads alone, of both; else of lookup

  // Sampled answers cannot be compared token by token, nor walked along as greedy decoding would: prefix,
  // depth_tau, chain_tau, independent_tau and every result's simulated, exact and divergences say nothing.
  bool sampled() const { return temperature > 0; }
  const DraftResult& plain() const { return results.front(); }
  const DraftResult* find(Draft draft) const;
  bool has_speeds() const;  // something was decoded behind first tokens
  // No failure; with exact arithmetic also no difference at all. Of sampled answers nothing is known: true.
  bool lossless() const;
};

// Decodes the prompts plainly and with each draft, and compares. `stage(name, n)` announces what comes, n
// prompts of it. Ranks divide the prompts (all read the same), and all get the same answers; speeds are
// measured by rank 0 while the others wait, and are its alone.
DecodeEvaluation evaluate_decoding(const Backbone& backbone, const DraftHeads& heads,
                                   std::span<const Prompt> prompts, const DecodeEvaluationOptions& options,
                                   const Stream& stream, RankShare& share, const StageProgress& stage);

}  // namespace gorgon
