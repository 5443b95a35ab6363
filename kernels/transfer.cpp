#include "kernels/transfer.h"

#include <cstring>

#include "kernels/error.h"

namespace gorgon {

void upload(const void* source, View to, const Stream& stream) {
  require(to.contiguous() && to.device == stream.device(), "upload",
          "a view of another device or with a row stride");
  const int64_t bytes = bytes_of(to.type, to.elements());
  if (bytes == 0) return;
  if (stream.device().kind == DeviceKind::cuda) {
    cuda::upload(source, to.data, bytes, stream);
  } else {
    std::memcpy(to.data, source, static_cast<size_t>(bytes));
  }
}

void copy_rows(ConstView from, View to, const Stream& stream) {
  require(from.type == to.type && from.shape == to.shape, "copy_rows", "types or shapes");
  require(from.device == stream.device() && to.device == stream.device(), "copy",
          "operands of another device");
  if (to.elements() == 0) return;
  const int64_t bytes = bytes_of(to.type, to.columns());
  const int64_t from_stride = bytes_of(from.type, from.stride()), to_stride = bytes_of(to.type, to.stride());
  if (stream.device().kind == DeviceKind::cuda) {
    cuda::copy_rows(from.data, from_stride, to.data, to_stride, bytes, to.rows(), stream);
    return;
  }
  for (int64_t i = 0; i < to.rows(); ++i) {
    std::memcpy(to.data + i * to_stride, from.data + i * from_stride, static_cast<size_t>(bytes));
  }
}

void zero(View to, const Stream& stream) {
  require(to.contiguous() && to.device == stream.device(), "zero",
          "a view of another device or with a row stride");
  const int64_t bytes = bytes_of(to.type, to.elements());
  if (bytes == 0) return;
  if (stream.device().kind == DeviceKind::cuda) {
    cuda::zero(to.data, bytes, stream);
  } else {
    std::memset(to.data, 0, static_cast<size_t>(bytes));
  }
}

Readback::Readback(int64_t bytes, Device device) : bytes_(bytes), device_(device) {
  if (device.kind == DeviceKind::cuda) {
    native_ = cuda::create_readback(device.index, bytes);
  } else {
    host_.resize(static_cast<size_t>(bytes));
  }
}

Readback::~Readback() {
  if (device_.kind == DeviceKind::cuda) cuda::destroy_readback(device_.index, native_);
}

void Readback::start(const void* from, const Stream& stream) {
  require(stream.device() == device_, "Readback", "a stream of another device");
  if (device_.kind == DeviceKind::cuda) {
    cuda::start_readback(native_, from, stream);
  } else {
    std::memcpy(host_.data(), from, static_cast<size_t>(bytes_));
  }
}

const std::byte* Readback::wait() {
  return device_.kind == DeviceKind::cuda ? cuda::wait_readback(device_.index, native_) : host_.data();
}

}  // namespace gorgon
