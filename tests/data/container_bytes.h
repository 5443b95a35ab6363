#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <vector>

namespace gorgon {

// Builders of container files, right and wrong ones.

template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string safetensors_file(const std::string& header, const std::string& data) {
  return raw(uint64_t{header.size()}) + header + data;
}

// A GGUF string: length and bytes.
inline std::string gguf_text(const std::string& text) {
  return raw(uint64_t{text.size()}) + text;
}

// Numbers of GGUF's value types.
constexpr uint32_t kGgufU8 = 0, kGgufU32 = 4, kGgufI32 = 5, kGgufF32 = 6, kGgufBool = 7, kGgufString = 8,
                   kGgufArray = 9, kGgufU64 = 10, kGgufI64 = 11, kGgufF64 = 12;

inline std::string gguf_key(const std::string& key, uint32_t type, const std::string& value) {
  return gguf_text(key) + raw(type) + value;
}
inline std::string gguf_u32(const std::string& key, uint32_t value) {
  return gguf_key(key, kGgufU32, raw(value));
}
inline std::string gguf_string(const std::string& key, const std::string& value) {
  return gguf_key(key, kGgufString, gguf_text(value));
}

// A tensor's description; dimensions innermost first, as they lie in the file.
inline std::string gguf_tensor(const std::string& name, const std::vector<int64_t>& dimensions, uint32_t type,
                               uint64_t offset) {
  std::string bytes = gguf_text(name) + raw(static_cast<uint32_t>(dimensions.size()));
  for (const int64_t d : dimensions) bytes += raw(d);
  return bytes + raw(type) + raw(offset);
}

struct GgufFile {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count, key_count;  // the true ones unless set
  std::vector<std::string> keys, tensors;
  size_t alignment = 32;
  std::string data;

  std::string bytes() const {
    std::string all = magic + raw(version) + raw(tensor_count.value_or(tensors.size())) +
                      raw(key_count.value_or(keys.size()));
    for (const std::string& key : keys) all += key;
    for (const std::string& tensor : tensors) all += tensor;
    all.resize((all.size() + alignment - 1) / alignment * alignment, '\0');
    return all + data;
  }
};

}  // namespace gorgon
