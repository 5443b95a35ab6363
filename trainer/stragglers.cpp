#include "trainer/stragglers.h"

#include <algorithm>
#include <utility>

namespace gorgon {

RankTimes rank_times(const std::vector<double>& seconds) {
  RankTimes times;
  const auto slowest = std::max_element(seconds.begin(), seconds.end());
  times.max = *slowest;
  times.slowest = static_cast<int>(slowest - seconds.begin());
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  times.median = sorted[(sorted.size() - 1) / 2];
  return times;
}

std::optional<RankTimes> Stragglers::add(const std::vector<double>& seconds) {
  sums_.resize(seconds.size());
  for (size_t r = 0; r < seconds.size(); ++r) sums_[r] += seconds[r];
  if (++steps_ < kSteps) return std::nullopt;
  const RankTimes times = rank_times(std::exchange(sums_, {}));
  steps_ = 0;
  if (silent_ > 0) --silent_;
  if (silent_ > 0 || times.max < kLeastSeconds || times.ratio() <= kRatio) return std::nullopt;
  silent_ = kSilence;
  return times;
}

}  // namespace gorgon
