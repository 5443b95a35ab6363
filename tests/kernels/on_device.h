#pragma once

#include <utility>
#include <vector>

#include "kernels/attention.h"
#include "kernels/rotary_embedding.h"
#include "kernels/tensor.h"
#include "kernels/vocabulary_cross_entropy.h"
#include "kernels/weight_matrix.h"

namespace gorgon {

// The device that this program tests: the CPU, what GORGON_TEST_DEVICE names, or the emulated GPU where the
// program is built with it.
Device test_device();

// Copies of a call's operands on a stream's device. On the CPU the operands themselves.
class DeviceCopies {
 public:
  explicit DeviceCopies(const Stream& stream) : device_(stream.device()) {}

  View operator()(View host) { return copy(host, true); }
  ConstView operator()(const BasicView<const std::byte>& host) {
    const View view{const_cast<std::byte*>(host.data), host.type, host.shape, host.device, host.row_stride};
    return copy(view, false);
  }
  ConstView operator()(const ConstView& host) {
    return (*this)(static_cast<const BasicView<const std::byte>&>(host));
  }
  CrossEntropyStatistics operator()(const CrossEntropyStatistics& host) {
    return {(*this)(host.max), (*this)(host.sum), (*this)(host.label_logit)};
  }
  std::vector<AttentionSequence> operator()(const std::vector<AttentionSequence>& host) {
    std::vector<AttentionSequence> moved = host;
    for (AttentionSequence& s : moved) {
      s.keys = (*this)(s.keys);
      s.values = (*this)(s.values);
    }
    return moved;
  }
  RotaryTable operator()(const RotaryTable& host) { return {host.cos.to(device_), host.sin.to(device_)}; }
  WeightMatrix operator()(const WeightMatrix& host) {
    WeightMatrix moved = host;
    if (device_.kind != DeviceKind::cpu)
      moved.storage = std::make_shared<const Tensor>(host.storage->to(device_));
    if (device_.kind != DeviceKind::cpu && host.scales != nullptr)
      moved.scales = std::make_shared<const Tensor>(host.scales->to(device_));
    return moved;
  }
  template <typename T>
  const T& operator()(const T& other) {
    return other;
  }

  // What the operation wrote, and the bytes between its rows, back into the host's memory.
  void fetch() const {
    for (const auto& c : copies_) {
      if (c.written) copy_bytes({}, c.host, device_, c.buffer.data(), c.buffer.bytes());
    }
  }

 private:
  struct Copy {
    Tensor buffer;
    std::byte* host;
    bool written;
  };

  View copy(View host, bool written) {
    if (device_.kind == DeviceKind::cpu) return host;
    const int64_t elements = host.elements() == 0 ? 0 : (host.rows() - 1) * host.stride() + host.columns();
    const int64_t bytes =
        is_block_quantised(host.type) ? bytes_of(host.type, host.elements()) : bytes_of(host.type, elements);
    Tensor buffer(DType::u8, {bytes}, device_);
    copy_bytes(device_, buffer.data(), {}, host.data, bytes);
    View view = host;
    view.data = buffer.data();
    view.device = device_;
    copies_.push_back({std::move(buffer), host.data, written});
    return view;
  }

  Device device_;
  std::vector<Copy> copies_;
};

// op(operands..., stream), with operands in host memory wherever the stream's device is: views are copied
// there, and what was written is copied back. Operands that share memory are copied apart.
template <typename... Parameters, typename... Operands>
void on_device(const Stream& stream, void (*op)(Parameters...), Operands&&... operands) {
  DeviceCopies copies(stream);
  op(copies(std::forward<Operands>(operands))..., stream);
  copies.fetch();
}

}  // namespace gorgon
