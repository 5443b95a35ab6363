#include "kernels/instruction_set.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include <hwy/targets.h>

#include "kernels/error.h"
#include "kernels/gemm_tiles.h"

namespace gorgon {

namespace {

struct InstructionSet {
  const char* name;
  int64_t target;  // Highway's; better targets of an architecture are lower bits
  std::optional<cpu::OneDnnLimit> onednn;
  bool scalable;  // vectors of no size known to the compiler: products stay with the next set
                  // (fixed_vectors.h)
};

// Best first. No chip has sets of two architectures.
constexpr std::array<InstructionSet, 6> kInstructionSets = {{
    {"avx512", HWY_AVX3, {}, false},
    {"avx2", HWY_AVX2, cpu::OneDnnLimit::avx2, false},
    {"sse4", HWY_SSE4, cpu::OneDnnLimit::sse4, false},
    {"sve2", HWY_SVE2, {}, true},
    {"sve", HWY_SVE, {}, true},
    {"neon", HWY_NEON, {}, false},
}};

// Asking Highway (1.0) makes it choose anew, among what DisableTargets() took out too: the choice is put
// right.
bool runs_here(const InstructionSet& set) {
  const int64_t targets = hwy::SupportedTargets();
  hwy::GetChosenTarget().Update(targets);
  return (targets & set.target) != 0;
}

// "avx512, avx2, sse4"
std::string names_here() {
  std::string names;
  for (const InstructionSet& set : kInstructionSets) {
    if (runs_here(set)) names += (names.empty() ? "" : ", ") + std::string(set.name);
  }
  return names;
}

}  // namespace

void limit_instruction_set(const std::string& name) {
  const auto set = std::find_if(kInstructionSets.begin(), kInstructionSets.end(),
                                [&](const InstructionSet& one) { return name == one.name; });
  if (set == kInstructionSets.end() || !runs_here(*set)) {
    fail(ExitCode::config, {"", "GORGON_CPU_ISA", "an instruction set of this chip (" + names_here() + ")",
                            quote_value(name), "leave it out: the best one is chosen by itself"});
  }
  hwy::DisableTargets(set->target - 1);
  if (set->onednn) cpu::limit_onednn(*set->onednn);
}

std::string instruction_set_text() {
  std::string text;
  for (const InstructionSet& set : kInstructionSets) {
    if (!runs_here(set)) continue;
    if (text.empty()) text = set.name;
    if (set.scalable) continue;
    if (text != set.name) text += ", products: " + std::string(set.name);
    break;
  }
  if (text.empty()) text = "the least that this program is built for";
  return text +
         (cpu::onednn_multiplies_bf16() ? "; bf16 products in oneDNN" : "; bf16 is stored, products are f32");
}

}  // namespace gorgon
