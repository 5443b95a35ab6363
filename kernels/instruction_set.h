#pragma once

#include <string>

namespace gorgon {

// Keeps all kernels of this process, oneDNN's too, to instruction set `name` and those below it, instead of
// the best that the chip has: how a chip without the others computes. Names, best first: "avx512", "avx2",
// "sse4" on x86-64; "sve2", "sve", "neon" on aarch64. To be called before the first kernel runs. Throws
// Error(config) for another name, or one that this chip lacks.
void limit_instruction_set(const std::string& name);

// What kernels run on from here on, for people: "avx2; bf16 is stored, products are f32".
std::string instruction_set_text();

namespace cpu {
// oneDNN's part, in gemm_onednn.cpp. Sets it may use: AVX-512 without bf16 counts as AVX2 (gemm_tiles.h).
enum class OneDnnLimit { avx2, sse4 };
void limit_onednn(OneDnnLimit limit);
}  // namespace cpu

}  // namespace gorgon
