#pragma once

#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "data/safetensors.h"  // TensorEntry

namespace gorgon {

// An array of the metadata: its checked bytes, decoded when asked for (a vocabulary is not copied twice).
struct GgufArray {
  uint32_t type = 0;   // GGUF's number of the elements' type; never an array
  uint64_t count = 0;  // elements
  std::span<const std::byte> bytes;
};

struct GgufValue {
  std::variant<bool, int64_t, uint64_t, double, std::string, GgufArray> value;
  uint64_t byte = 0;  // where the value lies in the file
};

// GGUF v2 and v3, little-endian (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Counts, lengths,
// offsets and alignment are checked before use; shapes are reversed to outermost first. Arrays and tensors
// are slices of the bytes given to parse_gguf, which must outlive the result.
struct Gguf {
  std::string file;
  std::map<std::string, GgufValue> metadata;
  std::map<std::string, TensorEntry> tensors;

  // Typed access; Error(model) naming file and key when missing or of another type or range.
  bool has(const std::string& key) const { return metadata.contains(key); }
  int64_t integer(const std::string& key, int64_t min, int64_t max) const;
  double number(const std::string& key) const;  // a number of any type
  const std::string& string(const std::string& key) const;
  std::vector<std::string> strings(const std::string& key) const;
  std::vector<int64_t> integers(const std::string& key) const;
  std::vector<float> numbers(const std::string& key) const;
  bool boolean(const std::string& key, bool otherwise) const;
};
Gguf parse_gguf(std::span<const std::byte> bytes, const std::string& file);

}  // namespace gorgon
