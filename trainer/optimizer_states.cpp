#include "trainer/optimizer_states.h"

namespace gorgon {

std::vector<NamedState> optimizer_states(Optimizer& optimizer, const std::vector<NamedParameter>& parameters,
                                         const GradientExchange& exchange) {
  std::vector<NamedState> all;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const UpdatedPart& part = exchange.part(i);
    for (const Optimizer::NamedState& state : optimizer.states(i)) {
      const auto values = [&](int64_t elements) {
        return (elements + state.elements_each - 1) / state.elements_each;
      };
      std::vector<int64_t> bounds, counts;
      for (const int64_t elements : part.bounds) bounds.push_back(values(elements));
      if (!bounds.empty()) counts = counts_of(bounds, 1);
      all.push_back({"optimizer." + parameters[i].name + "." + state.name,
                     state.view,
                     {values(part.elements)},
                     counts});
    }
  }
  return all;
}

}  // namespace gorgon
