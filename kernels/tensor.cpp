#include "kernels/tensor.h"

#include <utility>

#include "kernels/error.h"

namespace gorgon {

Shape::Shape(std::initializer_list<int64_t> dimensions) {
  require(dimensions.size() <= 4, "Shape", "more than four dimensions");
  for (const int64_t d : dimensions) {
    require(d >= 0, "Shape", "negative dimension");
    dimensions_[static_cast<size_t>(rank_++)] = d;
  }
}

int64_t Shape::elements() const {
  if (rank_ == 0) return 0;
  int64_t n = 1;
  for (int i = 0; i < rank_; ++i) n *= (*this)[i];
  return n;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int i = 0; i < shape.rank(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

std::string describe(DType type, const Shape& shape) {
  return std::string(name(type)) + to_string(shape);
}

template <typename Byte>
BasicView<Byte> BasicView<Byte>::rows(int64_t begin, int64_t end) const {
  require(0 <= begin && begin <= end && end <= shape[0], "View::rows", "range outside the view");
  BasicView part = *this;
  part.data = data + bytes_of(type, begin * stride());
  switch (shape.rank()) {
    case 1:
      part.shape = {end - begin};
      break;
    case 2:
      part.shape = {end - begin, shape[1]};
      break;
    case 3:
      part.shape = {end - begin, shape[1], shape[2]};
      break;
    default:
      part.shape = {end - begin, shape[1], shape[2], shape[3]};
  }
  return part;
}

template <typename Byte>
BasicView<Byte> BasicView<Byte>::columns(int64_t begin, int64_t end) const {
  require(shape.rank() == 2 && 0 <= begin && begin <= end && end <= shape[1], "View::columns",
          "range outside the matrix");
  BasicView part = *this;
  part.data = data + bytes_of(type, begin);
  part.row_stride = stride();
  part.shape = {shape[0], end - begin};
  return part;
}

template struct BasicView<std::byte>;
template struct BasicView<const std::byte>;

Tensor::Tensor(DType type, Shape shape, Device device, const Purpose& purpose)
    : data_(allocate(device, bytes_of(type, shape.elements()), purpose, describe(type, shape))),
      type_(type),
      shape_(shape),
      device_(device),
      capacity_(bytes_of(type, shape.elements())) {}

void Tensor::resize(Shape shape) {
  if (bytes_of(type_, shape.elements()) > capacity_) {
    *this = Tensor(type_, shape, device_);
  } else {
    shape_ = shape;
  }
}

Tensor Tensor::zeros(DType type, Shape shape, Device device, const Purpose& purpose) {
  Tensor tensor(type, shape, device, purpose);
  zero_bytes(device, tensor.data_, tensor.bytes());
  return tensor;
}

Tensor Tensor::to(Device device, const Purpose& purpose) const {
  Tensor copy(type_, shape_, device, purpose);
  copy_bytes(device, copy.data_, device_, data_, bytes());
  return copy;
}

void Tensor::swap(Tensor& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(type_, other.type_);
  std::swap(shape_, other.shape_);
  std::swap(device_, other.device_);
  std::swap(capacity_, other.capacity_);
}

}  // namespace gorgon
