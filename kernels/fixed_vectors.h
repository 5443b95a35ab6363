#pragma once

// Before <hwy/foreach_target.h> in a file whose loops need vectors of a size that the compiler knows, and of
// several lanes: leaves out the instruction sets whose vectors have none (SVE, RISC-V).
#include <hwy/detect_targets.h>

#undef HWY_DISABLED_TARGETS
#ifdef HWY_SVE2_128
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#else
// Highway before 0.17 (Ubuntu 22.04) takes single lanes for the least of x86-64: SSSE3 instead, of 2006.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_RVV)
#if HWY_ARCH_X86
#undef HWY_BASELINE_TARGETS
#define HWY_BASELINE_TARGETS HWY_SSSE3
#endif
#endif
