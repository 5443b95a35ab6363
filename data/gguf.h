#pragma once

#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "data/safetensors.h"  // TensorEntry

namespace gorgon {

// GGUF v2 and v3, little-endian (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Counts, lengths,
// offsets and alignment are checked before use; shapes are reversed to outermost first.
struct GgufValue {
  using Array = std::vector<GgufValue>;
  std::variant<bool, int64_t, uint64_t, double, std::string, Array> value;
};

struct Gguf {
  std::string file;
  std::map<std::string, GgufValue> metadata;
  std::map<std::string, TensorEntry> tensors;

  // Typed access; Error(model) naming file and key when missing or of another type or range.
  bool has(const std::string& key) const { return metadata.contains(key); }
  int64_t integer(const std::string& key, int64_t min, int64_t max) const;
  double number(const std::string& key) const;
  const std::string& string(const std::string& key) const;
  std::vector<std::string> strings(const std::string& key) const;
  std::vector<int64_t> integers(const std::string& key) const;
  std::vector<float> numbers(const std::string& key) const;
  bool boolean(const std::string& key, bool otherwise) const;
};
Gguf parse_gguf(std::span<const std::byte> bytes, const std::string& file);

}  // namespace gorgon
