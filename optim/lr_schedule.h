#pragma once

#include <cstdint>

#include "optim/options.h"

namespace gorgon {

// Warm-up steps of a run of max_steps: warmup_steps where given, else ceil(max_steps * warmup_ratio).
int64_t warmup_steps(const LrOptions& options, int64_t max_steps);

// Learning rate of optimizer step s (from 1), without a head's multiplier: learning_rate * lambda(s - 1), the
// lambdas of Hugging Face transformers 5 (optimization.py). `constant` ignores warm-up.
double learning_rate(const LrOptions& options, int64_t s, int64_t max_steps);

}  // namespace gorgon
