#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/sequences.h"

namespace gorgon {

// dataset.h5: /tokens i32[n], /labels i32[n] (the token itself or -100), /segments i32[n] (document number
// within its sequence), /offsets i64[sequences + 1], and string attributes of the root group that say what it
// was made from. Without filters, links or attributes of other types.
//
// The first 512 bytes, HDF5's user block, hold lines of text: "gorgon dataset 1", "bytes N" and "sha256 S" of
// everything behind the block, "complete", then zeros. They are checked before the HDF5 library sees a byte,
// because that library can crash on a damaged file.
struct Dataset {
  std::vector<int32_t> tokens, labels, segments;
  std::vector<int64_t> offsets;
  std::map<std::string, std::string> attributes;

  int64_t sequences() const { return offsets.empty() ? 0 : static_cast<int64_t>(offsets.size()) - 1; }
  // Sequences by number, in that order (a number may occur twice). Throws Error(internal) outside [0,
  // sequences()).
  Sequences gather(const std::vector<int64_t>& which) const;
};

// Atomically; takes the data set's memory twice again. Throws Error(resource); an attribute may have 32
// KiB.
void write_dataset(const std::filesystem::path& path, const Dataset& dataset);

// Throws Error(data) naming what is wrong: no mark, incomplete, checksum, other types or sizes, external
// links, filters, offsets that do not ascend from 0 to n. Such a file is derived and can be made again.
Dataset read_dataset(const std::filesystem::path& path);

// Whether the file begins as one of these does, damaged or not.
bool is_dataset_file(const std::filesystem::path& path);

// "" where every attribute of `wanted` has the same value in `found`, else the first that differs, as
// "key: expected X, found Y".
std::string dataset_difference(const std::map<std::string, std::string>& found,
                               const std::map<std::string, std::string>& wanted);

}  // namespace gorgon
