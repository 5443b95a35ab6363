#pragma once

#include <string>

namespace gorgon {

struct OptimizerOptions {
  bool eight_bit = true;  // adamw_8bit, else adamw
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
  float weight_decay = 0.0f;   // not on biases
  float max_grad_norm = 1.0f;  // 0 = off
  bool f32_master_weights = false;
};

enum class LrScheduler { constant, constant_with_warmup, linear, cosine, cosine_with_min_lr };

struct LrOptions {
  LrScheduler scheduler = LrScheduler::constant;
  double learning_rate = 1e-4;
  double min_lr_rate = 0.0;
  double warmup_ratio = 0.0;
  long warmup_steps = 0;  // wins when > 0
};

}  // namespace gorgon
