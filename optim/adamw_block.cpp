#include "optim/adamw_block.h"

#include <cmath>

#include "optim/stochastic_rounding.h"

namespace gorgon::cpu {

StepFactors step_factors(const ParamGroup& group, const AdamWOptions& options, const StepScalars& scalars) {
  const float lr = scalars.lr * group.lr_multiplier;
  const double c1 = 1.0 - std::pow(static_cast<double>(options.beta1), scalars.step);
  const double c2 = std::sqrt(1.0 - std::pow(static_cast<double>(options.beta2), scalars.step));
  const bool pytorch = options.form == AdamWForm::pytorch;
  return {.form = options.form,
          .beta1 = options.beta1,
          .beta2 = options.beta2,
          .one_minus_beta1 = 1.0f - options.beta1,
          .one_minus_beta2 = 1.0f - options.beta2,
          .step_size = static_cast<float>(static_cast<double>(lr) * (pytorch ? 1.0 : c2) / c1),
          .epsilon = static_cast<float>(static_cast<double>(options.epsilon) * (pytorch ? 1.0 : c2)),
          .c2 = static_cast<float>(c2),
          .decay = 1.0f - lr * group.weight_decay,
          .grad_scale = scalars.grad_scale,
          .seed = options.seed,
          .counter_high = rounding_counter_high(group.id, static_cast<uint32_t>(scalars.step))};
}

namespace {

// end_of_decade_5: where, on the scale log2 as linear in the bits, decade 5 gives way to decade 6; the other
// ends follow `decade` apart. The test of all thresholds proves the choice.
RankFormula make(const CodeMap& map, bool is_signed, double end_of_decade_5, double decade) {
  RankFormula f{};
  const double first_threshold = static_cast<double>(map.thresholds[map.zero]);
  const auto set = [&f](size_t s, double slope, double offset, double low, double high) {
    for (const size_t at : {s, s + 8}) {
      f.slope[at] = static_cast<float>(slope);
      f.offset[at] = static_cast<float>(offset);
      f.low[at] = static_cast<float>(low);
      f.high[at] = static_cast<float>(high);
    }
  };
  set(0, 0.5 / first_threshold, 0.5, 0.0, 2.0);
  for (int i = 0; i < 7; ++i) {
    const double n = is_signed ? 1 << i : 2 << i, low = is_signed ? n : n - 1.0;
    set(static_cast<size_t>(i) + 1, std::pow(10.0, 6 - i) * n / 0.9, low - 0.1 * n / 0.9, low, low + n);
  }
  for (const auto table : {&RankFormula::slope, &RankFormula::offset, &RankFormula::low, &RankFormula::high})
    (f.*table)[8] = (f.*table)[7];
  f.top_rank = f.high[7];
  f.top = f.top_rank - 0.25f;  // halfway from the last cell's midpoint to its end
  f.segment_slope = static_cast<float>(std::ldexp(1.0, -23) / decade);
  f.segment_offset = static_cast<float>((-127.0 - end_of_decade_5) / decade + 6.5);
  return f;
}

}  // namespace

const RankFormula& momentum_ranks() {
  static const RankFormula formula = make(signed_code_map(), true, -3.28, 3.09);
  return formula;
}

const RankFormula& variance_ranks() {
  static const RankFormula formula = make(unsigned_code_map(), false, -3.335, 3.213);
  return formula;
}

}  // namespace gorgon::cpu
