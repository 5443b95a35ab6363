// The parts of a data set in memory (dataset_file.cpp reads and writes it).
#include "data/dataset_file.h"
#include "kernels/error.h"

namespace gorgon {

Sequences Dataset::gather(const std::vector<int64_t>& which) const {
  Sequences out;
  out.offsets.push_back(0);
  for (const int64_t s : which) {
    require(s >= 0 && s < sequences(), "Dataset::gather", "a sequence number outside the data set");
    const int64_t begin = offsets[static_cast<size_t>(s)], end = offsets[static_cast<size_t>(s) + 1];
    out.tokens.insert(out.tokens.end(), tokens.begin() + begin, tokens.begin() + end);
    out.labels.insert(out.labels.end(), labels.begin() + begin, labels.begin() + end);
    out.segments.insert(out.segments.end(), segments.begin() + begin, segments.begin() + end);
    out.offsets.push_back(static_cast<int64_t>(out.tokens.size()));
    out.first_id.push_back(begin);
  }
  return out;
}

std::string dataset_difference(const std::map<std::string, std::string>& found,
                               const std::map<std::string, std::string>& wanted) {
  for (const auto& [key, value] : wanted) {
    const auto it = found.find(key);
    if (it == found.end()) return key + ": expected " + quote_value(value) + ", found none";
    if (it->second != value)
      return key + ": expected " + quote_value(value) + ", found " + quote_value(it->second);
  }
  return "";
}

}  // namespace gorgon
