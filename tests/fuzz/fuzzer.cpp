#include <cstddef>
#include <span>

#include "tests/fuzz/targets.h"

// libFuzzer's entry; GORGON_FUZZ_TARGET is one of the functions of targets.h.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  gorgon::GORGON_FUZZ_TARGET(std::as_bytes(std::span(data, size)));
  return 0;
}
