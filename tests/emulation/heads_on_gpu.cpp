#include <dlfcn.h>

#include "kernels/cuda/queue.h"
#include "kernels/error.h"
#include "tests/emulation/device_memory.h"
#include "tests/emulation/nccl_stand_in.h"
#include "tests/ranks/heads_device.h"

namespace gorgon {

Device heads_device() {
  return {DeviceKind::cuda, 0};
}

int64_t heads_bytes_received(const Communicator&) {
  void* library = ::dlopen("libnccl.so.2", RTLD_NOW | RTLD_NOLOAD);
  require(library != nullptr, "heads_program", "NCCL's stand-in is not loaded");
  using Count = int64_t (*)();
  return reinterpret_cast<Count>(::dlsym(library, "gorgon_nccl_bytes_received"))();
}

void start_recording() {
  emulation::start_recording();
}

std::vector<Given> recorded(const Stream& stream) {
  const cudaStream_t own = cuda::queue_of(stream).stream;
  std::vector<Given> order;
  for (const emulation::Enqueued& one : emulation::recorded()) {
    if (one.stream == own) {
      order.push_back(one.waits ? Given::wait : Given::work);
    } else if (!one.waits) {
      order.push_back(Given::collective);
    }
  }
  return order;
}

}  // namespace gorgon
