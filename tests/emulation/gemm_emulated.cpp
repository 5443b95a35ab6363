// Stands in for the libraries that the CUDA backend calls: products by the CPU backend, on the emulated
// device's memory.
#include "kernels/gemm.h"
#include "tests/emulation/device_memory.h"

namespace gorgon::cuda {

void gemm(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream) {
  emulation::check_device_pointer(a.data);
  emulation::check_device_pointer(b.data);
  emulation::check_device_pointer(c.data);
  const emulation::KernelAccess access;
  cpu::gemm(a, b, c, options, stream);
}

}  // namespace gorgon::cuda
