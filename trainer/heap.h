#pragma once

namespace gorgon {

// Tensors of 8 MiB and more go back to the system when they are released, for the whole process. Else glibc
// takes the first one that is released for a sign to keep blocks of up to 32 MiB, and what lies behind them,
// in its heap: holes that count as resident memory. No effect with other C libraries.
void give_back_large_blocks();

}  // namespace gorgon
