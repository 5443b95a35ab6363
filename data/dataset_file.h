#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/sequences.h"

namespace gorgon {

// dataset.h5: /tokens i32[n], /labels i32[n], /segments i32[n], /offsets i64[sequences + 1], string
// attributes that say what it was made from, a SHA-256 of its contents and a "complete" mark. Written
// atomically.
struct Dataset {
  std::vector<int32_t> tokens, labels, segments;
  std::vector<int64_t> offsets;
  std::map<std::string, std::string> attributes;

  int64_t sequences() const { return offsets.empty() ? 0 : static_cast<int64_t>(offsets.size()) - 1; }
  Sequences gather(const std::vector<int64_t>& which) const;  // sequences by number, in that order
};

void write_dataset(const std::filesystem::path& path, const Dataset& dataset);
Dataset read_dataset(
    const std::filesystem::path& path);  // Error(data): truncated, other types, checksum, external links

}  // namespace gorgon
