#pragma once

#include <vector>

#include "kernels/tensor.h"

namespace gorgon {

// Copies that take their place in a stream: none of them makes the host wait for the device.

// Host memory into a contiguous view of the stream's device. The source has been read when the call returns:
// it goes through page-locked memory of the stream. (The host waits where 256 uploads are under way already.)
void upload(const void* source, View to, const Stream& stream);
template <typename T>
void upload(const std::vector<T>& source, View to, const Stream& stream) {
  upload(source.data(), to, stream);
}

// Within the stream's device: matrices of one type and shape, row strides honoured, not overlapping.
void copy_rows(ConstView from, View to, const Stream& stream);

// All bits zero; contiguous.
void zero(View to, const Stream& stream);

// Device memory on its way to the host, again and again: start() puts the copy behind what the stream has to
// do, wait() holds the host until it is there.
class Readback {
 public:
  Readback(int64_t bytes, Device device);
  ~Readback();
  Readback(const Readback&) = delete;
  Readback& operator=(const Readback&) = delete;

  void start(const void* from, const Stream& stream);  // all bytes; the last copy has been waited for
  const std::byte* wait();                             // until the next start()

 private:
  int64_t bytes_;
  Device device_;
  std::vector<std::byte> host_;  // of a CPU
  void* native_ = nullptr;       // of a GPU
};

namespace cuda {
void upload(const void* source, void* to, int64_t bytes, const Stream& stream);
// rows of `bytes` bytes each, their starts `from_stride` and `to_stride` bytes apart
void copy_rows(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t bytes,
               int64_t rows, const Stream& stream);
void zero(void* to, int64_t bytes, const Stream& stream);
void* create_readback(int index, int64_t bytes);
void destroy_readback(int index, void* readback) noexcept;
void start_readback(void* readback, const void* from, const Stream& stream);
const std::byte* wait_readback(int index, void* readback);
}  // namespace cuda

}  // namespace gorgon
