#include "trainer/decode_speed.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace gorgon {
namespace {

// Nearest-rank quantile of ascending values.
double quantile(const std::vector<double>& sorted, double share) {
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

void set_latencies(const std::vector<Answer>& answers, Speed& speed) {
  std::vector<double> latencies;
  double prefilled = 0, prefill = 0, decode = 0;
  for (const Answer& answer : answers) {
    latencies.push_back(answer.prefill_seconds + answer.decode_seconds);
    prefilled += static_cast<double>(answer.prefilled);
    prefill += answer.prefill_seconds;
    decode += answer.decode_seconds;
  }
  speed.prefill_mean_s = prefill / static_cast<double>(answers.size());
  speed.prefill_tokens_per_s = prefill > 0 ? prefilled / prefill : 0;
  speed.decode_mean_s = decode / static_cast<double>(answers.size());
  std::sort(latencies.begin(), latencies.end());
  for (const double seconds : latencies)
    speed.latency_mean_s += seconds / static_cast<double>(latencies.size());
  speed.latency_median_s = quantile(latencies, 0.5);
  speed.latency_p90_s = quantile(latencies, 0.9);
}

}  // namespace

std::string name(Draft draft) {
  switch (draft) {
    case Draft::plain:
      return "plain";
    case Draft::heads:
      return "heads";
    case Draft::lookup:
      return "lookup";
    case Draft::both:
      return "both";
  }
  return "";
}

Speed speed_of(const DecodedSet& run) {
  require(!run.answers.empty(), "speed_of", "answers");
  Speed speed;
  double tokens = 0, forwards = 0;  // forwards: of single sequences
  std::vector<WalkCounts> walks;
  for (const Answer& answer : run.answers) {
    walks.push_back(count_walk(answer.emitted));
    tokens += static_cast<double>(answer.tokens.size());
    // A root that ended the answer took no forward.
    forwards += static_cast<double>(
        std::count_if(answer.offered.begin(), answer.offered.end(), [](int32_t nodes) { return nodes > 0; }));
  }
  speed.known = run.times.steps > 0;
  const double seconds = run.times.backbone + run.times.heads + run.times.rest;
  const auto steps = static_cast<double>(std::max<int64_t>(run.times.steps, 1));
  speed.tokens_per_s = seconds > 0 ? tokens / seconds : 0;
  speed.slowest = speed.fastest = speed.tokens_per_s;
  set_latencies(run.answers, speed);
  speed.step_seconds = seconds / steps;
  speed.head_share = run.times.heads / std::max(1e-12, seconds);
  speed.backbone_seconds = run.times.backbone / steps;
  speed.head_seconds = run.times.heads / steps;
  speed.occupancy = forwards / steps;
  speed.accept_length = gorgon::accept_length(walks);
  return speed;
}

Speed median_speed(std::vector<Speed> runs) {
  require(!runs.empty(), "median_speed", "runs");
  std::sort(runs.begin(), runs.end(),
            [](const Speed& a, const Speed& b) { return a.tokens_per_s < b.tokens_per_s; });
  Speed median = runs[runs.size() / 2];
  median.slowest = runs.front().tokens_per_s;
  median.fastest = runs.back().tokens_per_s;
  return median;
}

std::vector<Speed> time_in_turns(const std::vector<std::function<DecodedSet()>>& work) {
  std::vector<std::vector<Speed>> runs(work.size());
  for (int run = 0; run < kTimedRuns; ++run) {
    for (size_t i = 0; i < work.size(); ++i) runs[i].push_back(speed_of(work[i]()));
  }
  std::vector<Speed> speeds;
  for (std::vector<Speed>& of_one : runs) speeds.push_back(median_speed(std::move(of_one)));
  return speeds;
}

}  // namespace gorgon
