#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/communicator.h"

namespace gorgon {

// to T[count] = sum, or maximum, of parts T[count] each, in their order; T = f32, bf16, i32, i64 or u8. `to`
// may be one of the parts. Sums of bf16 are taken in f32 and of f32 in f64, and rounded once (to nearest
// even): bits depend on the parts alone. By the calling thread.
void reduce_parts(std::span<const std::byte* const> parts, std::byte* to, DType type, int64_t count,
                  ReduceOp op);

}  // namespace gorgon
