#pragma once

#include <map>
#include <memory>
#include <tuple>

#include <cublasLt.h>
#include <cuda_runtime.h>

#include "kernels/dtype.h"

namespace gorgon::cuda {

template <typename Handle, cublasStatus_t (*Destroy)(Handle)>
struct LtDelete {
  using pointer = Handle;
  void operator()(Handle handle) const noexcept { Destroy(handle); }
};
using LtHandle = std::unique_ptr<cublasLtHandle_t, LtDelete<cublasLtHandle_t, cublasLtDestroy>>;
using LtMatmul =
    std::unique_ptr<cublasLtMatmulDesc_t, LtDelete<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>>;
using LtLayout =
    std::unique_ptr<cublasLtMatrixLayout_t, LtDelete<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>>;

// A product of row-major matrices, c [m, n] = op(a) op(b), as gemm() takes it. Alignments are bytes, at
// most 16.
struct GemmShape {
  int64_t m, n, k;
  int64_t stride_a, stride_b, stride_c;
  DType in, out;
  bool transpose_a, transpose_b, accumulate, tf32;
  int alignment_a, alignment_b, alignment_c;
  auto key() const {
    return std::make_tuple(m, n, k, stride_a, stride_b, stride_c, in, out, transpose_a, transpose_b,
                           accumulate, tf32, alignment_a, alignment_b, alignment_c);
  }
  friend bool operator<(const GemmShape& a, const GemmShape& b) { return a.key() < b.key(); }
};

// cuBLASLt's handle, its workspace and what it answered for the products met so far. One per stream.
class GemmPlans {
 public:
  explicit GemmPlans(int device);
  ~GemmPlans();
  GemmPlans(const GemmPlans&) = delete;
  GemmPlans& operator=(const GemmPlans&) = delete;

  // False where cuBLASLt has no algorithm for this product; nothing was launched then.
  bool multiply(const GemmShape& shape, const void* a, const void* b, void* c, cudaStream_t stream);

 private:
  struct Plan {
    LtMatmul matmul;
    LtLayout first, second, result;  // column-major operands: second operand of ours comes first
    cublasLtMatmulAlgo_t algorithm;
    bool usable = false;
  };
  const Plan& plan(const GemmShape& shape);
  Plan make(const GemmShape& shape);
  bool choose(const GemmShape& shape, Plan& plan, const cublasLtMatrixLayout_t* layouts);

  int device_;
  LtHandle handle_;
  void* workspace_ = nullptr;
  std::map<GemmShape, Plan> plans_;
};

}  // namespace gorgon::cuda
