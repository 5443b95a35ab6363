#include "tests/kernels/on_device.h"

namespace gorgon {

Device test_device() {
  return {DeviceKind::cuda, 0};
}

}  // namespace gorgon
