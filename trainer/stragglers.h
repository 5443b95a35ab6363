#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace gorgon {

// Which rank all others wait for in a step, by the ranks' seconds of own work, waiting left out.
struct RankTimes {
  double max = 0, median = 0;  // of an even number of ranks the lower of the two in the middle
  int slowest = 0;

  // How many times the median the slowest takes; 1 where nobody took any time.
  double ratio() const { return median > 0 ? max / median : 1; }
};
RankTimes rank_times(const std::vector<double>& seconds);  // [n >= 1]

// Finds a rank that keeps the others waiting for long: in windows of steps, so that neither a single slow
// step nor the noise of short ones counts.
class Stragglers {
 public:
  static constexpr int64_t kSteps = 20;                     // of a window
  static constexpr double kRatio = 1.3, kLeastSeconds = 1;  // of the window's slowest rank
  static constexpr int64_t kSilence = 10;                   // windows until it is told of again

  // After every step, each rank's seconds. The times of a window at its end, where one rank took more than
  // kRatio times the median.
  std::optional<RankTimes> add(const std::vector<double>& seconds);

 private:
  std::vector<double> sums_;
  int64_t steps_ = 0, silent_ = 0;  // windows that nothing is told in any more
};

}  // namespace gorgon
