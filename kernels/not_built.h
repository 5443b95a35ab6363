#pragma once

#include "kernels/error.h"

namespace gorgon::cuda {

// What every op of the CUDA backend does in a build without it.
[[noreturn]] inline void not_built() {
  fail(ExitCode::resource, {"", "device", "a build with CUDA", "a build without it",
                            "build with GORGON_CUDA=ON, or set device: cpu"});
}

}  // namespace gorgon::cuda
