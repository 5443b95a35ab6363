#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernels/error.h"

namespace gorgon {

// Values as bytes for the other ranks of a job, which run the same program on the same kind of machine.
class MessageWriter {
 public:
  template <typename T>
  void add(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <typename T>
  void add(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    add(std::ssize(values));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void add(const std::string& text) {
    add(std::ssize(text));
    bytes_ += text;
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// What a MessageWriter wrote, in the same order. Throws Error(internal) behind the end.
class MessageReader {
 public:
  explicit MessageReader(std::string_view bytes) : bytes_(bytes) {}
  bool at_end() const { return bytes_.empty(); }

  template <typename T>
  void get(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memcpy(&value, next(sizeof value).data(), sizeof value);
  }
  template <typename T>
  void get(std::vector<T>& values) {
    std::ptrdiff_t size = 0;
    get(size);
    values.resize(static_cast<size_t>(size));
    const std::string_view bytes = next(values.size() * sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  void get(std::string& text) {
    std::ptrdiff_t size = 0;
    get(size);
    text = next(static_cast<size_t>(size));
  }

 private:
  std::string_view next(size_t count) {
    require(count <= bytes_.size(), "MessageReader", "as many bytes as were packed");
    const std::string_view bytes = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return bytes;
  }

  std::string_view bytes_;
};

}  // namespace gorgon
