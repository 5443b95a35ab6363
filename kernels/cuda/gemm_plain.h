#pragma once

#include "kernels/gemm.h"

namespace gorgon::cuda {

// gemm() for operands that cuBLASLt does not take; the same contract, slow.
void gemm_plain(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream);

}  // namespace gorgon::cuda
