#pragma once

#include "kernels/tensor.h"

namespace gorgon {

// to = from in to's type; f32 and bf16, one shape, both contiguous, not overlapping. f32 to bf16 rounds to
// nearest even and keeps NaN.
void convert(ConstView from, View to, const Stream& stream);

// to[i, :] = from[index[i], :]; from T[Q, H], index i32[P] within 0..Q-1 (throws Error internal otherwise),
// to T[P, H]. Row strides are honoured.
void gather_rows(ConstView from, ConstView index, View to, const Stream& stream);

namespace cpu {
void convert(ConstView from, View to, const Stream& stream);
void gather_rows(ConstView from, ConstView index, View to, const Stream& stream);
}  // namespace cpu
namespace cuda {
void convert(ConstView from, View to, const Stream& stream);
void gather_rows(ConstView from, ConstView index, View to, const Stream& stream);
}  // namespace cuda

}  // namespace gorgon
