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
  // More work never takes less: what is below 1 is the clock's noise.
  const double cost = std::max(1.0, seconds[k] / seconds[k - 1]);
  const auto gains = evaluation.depth_gain[k], costs = evaluation.depth_cost[k];
  const std::string numbers = fmt::format("head {} adds {:.2f} tokens a step at {:.0f} % cost: ", k,
                                          tau[k] - tau[k - 1], 100 * (cost - 1));
  if (gains.first > costs.second) return numbers + "keep it";
  if (gains.second <= costs.first) return numbers + "drop it";
  return numbers + fmt::format("undecided within the noise (tokens times {:.2f}-{:.2f}, cost {:.2f}-{:.2f})",
                               gains.first, gains.second, costs.first, costs.second);
}

std::string title(Draft draft) {
  switch (draft) {
    case Draft::plain:
      return "plain decoding";
    case Draft::heads:
      return "the heads";
    case Draft::lookup:
      return "lookup";
    case Draft::both:
      return "heads and lookup in one tree";
  }
  return "";
}

// Faster in its slowest run than the other in its fastest.
bool is_faster(const DraftResult& result, const DraftResult& other) {
  return result.speed.slowest > other.speed.fastest;
}

std::string no_difference(const DraftResult& a, const DraftResult& b) {
  return fmt::format("no difference measured between {} and {}: {:.1f}-{:.1f} and {:.1f}-{:.1f} tokens/s",
                     title(a.draft), title(b.draft), a.speed.slowest, a.speed.fastest, b.speed.slowest,
                     b.speed.fastest);
}

// Drafts that differ from plain decoding; with a tree of one node nothing is drafted by heads.
std::vector<const DraftResult*> real_drafts(const DecodeEvaluation& evaluation) {
  std::vector<const DraftResult*> drafts;
  for (const DraftResult& result : evaluation.results) {
    const bool by_heads = result.draft == Draft::heads || result.draft == Draft::both;
    if (result.draft == Draft::plain || (by_heads && evaluation.tree_nodes <= 1)) continue;
    drafts.push_back(&result);
  }
  return drafts;
}

// By the median, among those that are faster than plain decoding; among all where none is.
const DraftResult* fastest(std::vector<const DraftResult*> drafts, const DraftResult& plain) {
  const auto end = std::partition(drafts.begin(), drafts.end(),
                                  [&](const DraftResult* draft) { return is_faster(*draft, plain); });
  return *std::max_element(drafts.begin(), end == drafts.begin() ? drafts.end() : end,
                           [](const DraftResult* a, const DraftResult* b) {
                             return a->speed.tokens_per_s < b->speed.tokens_per_s;
                           });
}

std::string whole_verdict(const DecodeEvaluation& evaluation) {
  const std::vector<const DraftResult*> drafts = real_drafts(evaluation);
  if (drafts.empty()) return "a tree of one node is plain decoding: the heads have nothing to gain";
  const DraftResult& plain = evaluation.plain();
  const DraftResult* best = fastest(drafts, plain);
  if (is_faster(plain, *best)) return "nothing pays here: plain decoding is the fastest";
  if (!is_faster(*best, plain)) return no_difference(*best, plain);

  const DraftResult* heads = evaluation.find(Draft::heads);
  const DraftResult* lookup = evaluation.find(Draft::lookup);
  std::string note;
  if (best->draft == Draft::both && evaluation.tree_nodes > 1 && heads != nullptr &&
      !is_faster(*best, *heads)) {
    note = "; lookup beside them makes no difference that was measured";
    best = heads;
  }
  if (best->draft != Draft::lookup && lookup != nullptr && !is_faster(*best, *lookup)) {
    return "do not train: " + no_difference(*best, *lookup) + ", and lookup needs no training";
  }
  if (best->draft == Draft::lookup) {
    return fmt::format("do not train: lookup gains more ({:.2f} times plain decoding, without any training)",
                       speedup(evaluation, *best));
  }
  return fmt::format("serve with {}: {:.2f} times plain decoding{}", title(best->draft),
                     speedup(evaluation, *best), note);
}

}  // namespace

double speedup(const DecodeEvaluation& evaluation, const DraftResult& result) {
  return result.speed.tokens_per_s / evaluation.plain().speed.tokens_per_s;
}

double overhead(const DecodeEvaluation& evaluation, const DraftResult& result) {
  return result.speed.step_seconds / evaluation.plain().speed.step_seconds;
}

// Tokens of a forward, not of a step: where answers are short, last roots are many of the steps.
double tau_over_overhead(const DecodeEvaluation& evaluation, const DraftResult& result) {
  return result.forward_tokens / evaluation.plain().forward_tokens / overhead(evaluation, result);
}

std::vector<std::string> speed_warnings(const DecodeEvaluation& evaluation) {
  std::vector<std::string> lines;
  // Over the same prompts both are the same by definition.
  if (!evaluation.has_speeds() || evaluation.timed_prompts >= evaluation.prompts) return lines;
  for (const DraftResult& r : evaluation.results) {
    const double faster = speedup(evaluation, r), expected = tau_over_overhead(evaluation, r);
    if (std::abs(faster - expected) <= kSpeedGap * expected) continue;
    lines.push_back(fmt::format(
        "{}: the speed-up {:.2f} is not tau / step cost {:.2f}: the timed prompts (the first {} of {}) are "
        "not like all",
        name(r.draft), faster, expected, evaluation.timed_prompts, evaluation.prompts));
  }
  return lines;
}

std::vector<std::string> verdicts(const DecodeEvaluation& evaluation) {
  if (!evaluation.lossless()) return {"not lossless: the speeds are worth nothing, no verdict"};
  if (!evaluation.has_speeds()) return {"nothing was decoded after the first token: no speeds, no verdict"};
  std::vector<std::string> lines;
  for (size_t k = 1; k < evaluation.depth_seconds.size() && evaluation.tree_nodes > 1; ++k)
    lines.push_back(head_verdict(evaluation, k));
  lines.push_back(whole_verdict(evaluation));
  return lines;
}

}  // namespace gorgon
