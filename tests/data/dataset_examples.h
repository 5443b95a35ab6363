#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "data/packing.h"

namespace gorgon {

// A document of made-up tokens whose every third label is masked; tokens differ between documents.
inline std::pair<std::vector<int32_t>, std::vector<int32_t>> example_document(int32_t number,
                                                                              int64_t tokens) {
  std::vector<int32_t> ids, labels;
  for (int32_t i = 0; i < tokens; ++i) {
    ids.push_back(number * 1000 + i);
    labels.push_back(i % 3 == 2 ? -100 : ids.back());
  }
  return {ids, labels};
}

inline Dataset example_dataset(const std::vector<int64_t>& lengths, Packing packing, int64_t max_seq_length) {
  Dataset dataset;
  Packer packer(packing, max_seq_length, dataset);
  for (size_t d = 0; d < lengths.size(); ++d) {
    const auto [tokens, labels] = example_document(static_cast<int32_t>(d), lengths[d]);
    packer.add(tokens, labels);
  }
  packer.finish();
  return dataset;
}

}  // namespace gorgon
