#include "kernels/instruction_set.h"

#include <cstdint>

#include <hwy/targets.h>

#include "kernels/error.h"

namespace gorgon {

namespace {

// Better targets of x86 are lower bits.
void limit_highway(const std::string& name, int64_t target) {
  if ((hwy::SupportedTargets() & target) == 0) {
    fail(ExitCode::config, {"", "GORGON_CPU_ISA", "an instruction set of this chip", quote_value(name),
                            "leave it out: the best one is chosen by itself"});
  }
  hwy::DisableTargets(target - 1);
}

}  // namespace

void limit_instruction_set(const std::string& name) {
  if (name == "avx512") {
    limit_highway(name, HWY_AVX3);
  } else if (name == "avx2") {
    limit_highway(name, HWY_AVX2);
    cpu::limit_onednn(cpu::OneDnnLimit::avx2);
  } else if (name == "sse4") {
    limit_highway(name, HWY_SSE4);
    cpu::limit_onednn(cpu::OneDnnLimit::sse4);
  } else {
    fail(ExitCode::config, {"", "GORGON_CPU_ISA", "avx512, avx2 or sse4", quote_value(name), ""});
  }
}

}  // namespace gorgon
