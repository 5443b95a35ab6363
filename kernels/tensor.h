#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/device.h"
#include "kernels/dtype.h"

namespace gorgon {

// Up to four dimensions, row-major.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dimensions);
  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dimensions_[static_cast<size_t>(i)]; }
  int64_t elements() const;
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<int64_t, 4> dimensions_{};
  int rank_ = 0;
};
std::string to_string(const Shape& shape);             // "[3, 4]"
std::string describe(DType type, const Shape& shape);  // "bf16[3, 4]"

// Borrowed memory: never freed, must not outlive its owner. Contiguous but for `row_stride` (elements between
// the starts of rows of a matrix), which lets an op read and write a block of columns.
template <typename Byte>
struct BasicView {
  Byte* data = nullptr;
  DType type = DType::f32;
  Shape shape;
  Device device;
  int64_t row_stride = 0;  // 0 = contiguous

  int64_t rows() const { return shape.rank() == 0 ? 0 : shape[0]; }
  int64_t columns() const { return shape.rank() < 2 ? 1 : shape.elements() / std::max<int64_t>(shape[0], 1); }
  int64_t stride() const { return row_stride != 0 ? row_stride : columns(); }
  int64_t elements() const { return shape.elements(); }
  bool contiguous() const { return row_stride == 0 || row_stride == columns(); }
  template <typename T>
  auto as() const {  // pointer to the elements; the caller knows the type
    if constexpr (std::is_const_v<Byte>) {
      return reinterpret_cast<const T*>(data);
    } else {
      return reinterpret_cast<T*>(data);
    }
  }
  // Rows [begin, end) of the first dimension. Plain types only.
  BasicView rows(int64_t begin, int64_t end) const;
  // Columns [begin, end) of a matrix.
  BasicView columns(int64_t begin, int64_t end) const;
};

using View = BasicView<std::byte>;
struct ConstView : BasicView<const std::byte> {
  ConstView() = default;
  ConstView(const BasicView<const std::byte>& v) : BasicView<const std::byte>(v) {}  // NOLINT: implicit
  ConstView(const View& v)
      : BasicView<const std::byte>{v.data, v.type, v.shape, v.device, v.row_stride} {}  // NOLINT
};

// Owned memory of one device; movable, not copyable. Not initialised unless made by zeros().
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType type, Shape shape, Device device = {}, const Purpose& purpose = {});
  static Tensor zeros(DType type, Shape shape, Device device = {}, const Purpose& purpose = {});
  template <typename T>
  static Tensor of(const std::vector<T>& values, Shape shape, Device device = {});
  ~Tensor() { release(device_, data_); }
  Tensor(Tensor&& other) noexcept { swap(other); }
  Tensor& operator=(Tensor&& other) noexcept {
    swap(other);
    return *this;
  }

  bool empty() const { return data_ == nullptr; }
  DType type() const { return type_; }
  const Shape& shape() const { return shape_; }
  Device device() const { return device_; }
  int64_t elements() const { return shape_.elements(); }
  int64_t bytes() const { return bytes_of(type_, shape_.elements()); }
  std::byte* data() { return static_cast<std::byte*>(data_); }
  const std::byte* data() const { return static_cast<const std::byte*>(data_); }
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }

  View view() { return {data(), type_, shape_, device_, 0}; }
  ConstView view() const { return BasicView<const std::byte>{data(), type_, shape_, device_, 0}; }
  Tensor to(Device device, const Purpose& purpose = {}) const;  // a copy
  // Another shape, contents undefined; memory that is large enough stays.
  void resize(Shape shape);

 private:
  void swap(Tensor& other) noexcept;
  void* data_ = nullptr;
  DType type_ = DType::f32;
  Shape shape_;
  Device device_;
  int64_t capacity_ = 0;  // bytes of data_
};

// DType of a C++ element type.
template <typename T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<bf16>() {
  return DType::bf16;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::i64;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}
template <>
constexpr DType dtype_of<int8_t>() {
  return DType::i8;
}

template <typename T>
Tensor Tensor::of(const std::vector<T>& values, Shape shape, Device device) {
  Tensor tensor(dtype_of<T>(), shape, device);
  copy_bytes(device, tensor.data(), Device{}, values.data(), tensor.bytes());
  return tensor;
}

}  // namespace gorgon
