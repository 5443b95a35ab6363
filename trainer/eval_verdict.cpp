#include "trainer/eval_verdict.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace gorgon {
namespace {

constexpr double kSpeedGap = 0.1;  // between speed-up and tau / step cost, that is not said

std::string head_verdict(const DecodeEvaluation& evaluation, size_t k) {
  const auto& tau = evaluation.depth_tau;
  const auto& seconds = evaluation.depth_seconds;
  const double cost = seconds[k] / seconds[k - 1];
  return fmt::format("head {} adds {:.2f} tokens a step at {:.0f} % cost: {}", k, tau[k] - tau[k - 1],
                     std::round(100 * (cost - 1)) + 0.0 /* never -0 */,
                     tau[k] / tau[k - 1] > cost ? "keep it" : "drop it");
}

std::string whole_verdict(const DecodeEvaluation& evaluation) {
  const DraftResult* best = &evaluation.plain();
  for (const DraftResult& result : evaluation.results) {
    if (result.speed.tokens_per_s > best->speed.tokens_per_s) best = &result;
  }
  switch (best->draft) {
    case Draft::plain:
      return "nothing pays here: plain decoding is the fastest";
    case Draft::lookup:
      return fmt::format(
          "do not train: lookup gains more ({:.2f} times plain decoding, without any training)",
          speedup(evaluation, *best));
    case Draft::heads:
    case Draft::both:
      break;
  }
  return fmt::format("serve with {}: {:.2f} times plain decoding",
                     best->draft == Draft::heads ? "the heads" : "heads and lookup in one tree",
                     speedup(evaluation, *best));
}

}  // namespace

double speedup(const DecodeEvaluation& evaluation, const DraftResult& result) {
  return result.speed.tokens_per_s / evaluation.plain().speed.tokens_per_s;
}

double overhead(const DecodeEvaluation& evaluation, const DraftResult& result) {
  return result.speed.step_seconds / evaluation.plain().speed.step_seconds;
}

// What the speed-up should be.
double tau_over_overhead(const DecodeEvaluation& evaluation, const DraftResult& result) {
  return result.accept_length / overhead(evaluation, result);
}

std::vector<std::string> speed_warnings(const DecodeEvaluation& evaluation) {
  std::vector<std::string> lines;
  for (const DraftResult& r : evaluation.results) {
    const double faster = speedup(evaluation, r), expected = tau_over_overhead(evaluation, r);
    if (std::abs(faster - expected) <= kSpeedGap * expected) continue;
    lines.push_back(fmt::format(
        "{}: the speed-up {:.2f} is not tau / step cost {:.2f}: the timed prompts (the first {} of {}) are "
        "not like all, or other programs ran",
        name(r.draft), faster, expected, evaluation.timed_prompts, evaluation.prompts));
  }
  return lines;
}

std::vector<std::string> verdicts(const DecodeEvaluation& evaluation) {
  std::vector<std::string> lines;
  for (size_t k = 1; k < evaluation.depth_seconds.size() && evaluation.tree_nodes > 1; ++k)
    lines.push_back(head_verdict(evaluation, k));
  lines.push_back(whole_verdict(evaluation));
  return lines;
}

}  // namespace gorgon
