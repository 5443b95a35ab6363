#pragma once

#include <cmath>
#include <vector>

#include "kernels/convert.h"
#include "trainer/head_trainer.h"

namespace gorgon {

inline std::vector<float> values_of(View view) {
  Tensor wide(DType::f32, {view.elements()});
  convert(view, wide.view(), Stream({}, 1));
  return {wide.as<float>(), wide.as<float>() + wide.elements()};
}

inline std::vector<float> all_weights(HeadTrainer& trainer) {
  std::vector<float> values;
  for (const NamedParameter& p : parameters(trainer.heads())) {
    const std::vector<float> part = values_of(p.view);
    values.insert(values.end(), part.begin(), part.end());
  }
  return values;
}

// Distance of two runs relative to how far the first moved from its start.
inline double distance(const std::vector<float>& a, const std::vector<float>& b,
                       const std::vector<float>& start) {
  double error = 0, moved = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    moved += std::pow(static_cast<double>(a[i]) - static_cast<double>(start[i]), 2);
  }
  return std::sqrt(error / moved);
}

}  // namespace gorgon
