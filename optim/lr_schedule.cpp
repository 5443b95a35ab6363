#include "optim/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gorgon {

int64_t warmup_steps(const LrOptions& options, int64_t max_steps) {
  if (options.warmup_steps > 0) return options.warmup_steps;
  return static_cast<int64_t>(std::ceil(static_cast<double>(max_steps) * options.warmup_ratio));
}

double learning_rate(const LrOptions& options, int64_t s, int64_t max_steps) {
  if (options.scheduler == LrScheduler::constant) return options.learning_rate;
  const auto step = static_cast<double>(s - 1), total = static_cast<double>(max_steps);
  const auto warmup = static_cast<double>(warmup_steps(options, max_steps));
  if (step < warmup) return options.learning_rate * (step / std::max(1.0, warmup));
  const double decay = std::max(1.0, total - warmup);
  const auto cosine = [&] { return 0.5 * (1.0 + std::cos(std::numbers::pi * (step - warmup) / decay)); };
  double lambda = 1.0;
  switch (options.scheduler) {
    case LrScheduler::constant:
    case LrScheduler::constant_with_warmup:
      break;
    case LrScheduler::linear:
      lambda = (total - step) / decay;
      break;
    case LrScheduler::cosine:
      lambda = cosine();
      break;
    case LrScheduler::cosine_with_min_lr:
      lambda = cosine() * (1.0 - options.min_lr_rate) + options.min_lr_rate;
      break;
  }
  return options.learning_rate * std::max(0.0, lambda);
}

}  // namespace gorgon
