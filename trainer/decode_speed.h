#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "trainer/traces.h"

namespace gorgon {

// Where drafts come from.
enum class Draft { plain, heads, lookup, both };
std::string name(Draft draft);

constexpr int kTimedRuns = 3;

// Speed of decoding a set of prompts. All figures but the range are those of one run: of several, the one
// whose tokens_per_s is the median. That leaves prefill out; a latency is a whole answer's, prefill included,
// and stands for a user's only at batch 1.
struct Speed {
  bool known = true;  // false: no answer went on behind its first token, and only latencies mean anything
  double tokens_per_s = 0, slowest = 0, fastest = 0;
  double latency_mean_s = 0, latency_median_s = 0, latency_p90_s = 0;
  double prefill_mean_s = 0, prefill_tokens_per_s = 0;  // of a prompt, the first draft included
  double decode_mean_s = 0;                             // of an answer behind it
  double step_seconds = 0;                              // of a forward and what belongs to it
  double head_share = 0;                                // of the time of a step, in the heads
  double backbone_seconds = 0, head_seconds = 0;        // of a step; the rest is choosing and book-keeping
  double occupancy = 0;                                 // mean sequences in a forward
  double accept_length = 0;                             // tau of this run
};

Speed speed_of(const DecodedSet& run);
Speed median_speed(std::vector<Speed> runs);  // of at least one

// Speed of each piece of work over kTimedRuns runs that take turns, so that what else the machine does for a
// while is no single one's bad luck.
std::vector<Speed> time_in_turns(const std::vector<std::function<DecodedSet()>>& work);

}  // namespace gorgon
