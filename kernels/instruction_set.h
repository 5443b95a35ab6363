#pragma once

#include <string>

namespace gorgon {

// Keeps all kernels of this process, oneDNN's too, to instruction set `name` ("avx512", "avx2" or "sse4") and
// those below it, instead of the best that the chip has: how a chip without the others computes. To be called
// before the first kernel runs. Throws Error(config) for another name, or one that this chip lacks.
void limit_instruction_set(const std::string& name);

namespace cpu {
// oneDNN's part, in gemm_onednn.cpp. Sets it may use: AVX-512 without bf16 counts as AVX2 (gemm_tiles.h).
enum class OneDnnLimit { avx2, sse4 };
void limit_onednn(OneDnnLimit limit);
}  // namespace cpu

}  // namespace gorgon
