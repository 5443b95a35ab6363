#include <cstddef>
#include <span>

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  gorgon::fuzz_encode(std::as_bytes(std::span(data, size)));
  return 0;
}
