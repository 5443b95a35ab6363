#include <cstdlib>

#include "tests/kernels/on_device.h"

namespace gorgon {

Device test_device() {
  const char* name = std::getenv("GORGON_TEST_DEVICE");
  return parse_device(name == nullptr ? "cpu" : name);
}

}  // namespace gorgon
