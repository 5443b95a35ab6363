#include "tests/emulation/cublasLt.h"

#include <bit>
#include <cstring>

#include "kernels/error.h"
#include "kernels/fp8_linear.h"
#include "kernels/gemm.h"
#include "tests/emulation/device_memory.h"

namespace gorgon::emulation {

struct LtLibrary {};
struct LtProduct {
  cublasComputeType_t compute;
  bool transpose_a, transpose_b;
  bool fast_accumulation = false;
};
struct LtMatrix {  // column-major
  cudaDataType_t type;
  int64_t rows, columns, leading;
};
struct LtPreference {
  uint32_t reductions = ~0u, alignment[4] = {256, 256, 256, 256};
  uint64_t workspace = 0;
};

namespace {

// What an algorithm was chosen for, kept in its 64 bytes: operands must be like it.
struct Choice {
  uint32_t alignment[3];
  cudaDataType_t in, out;
};
static_assert(sizeof(Choice) <= sizeof(cublasLtMatmulAlgo_t));

int64_t inner(const LtMatrix& m, bool transposed) {
  return transposed ? m.rows : m.columns;
}
int64_t outer(const LtMatrix& m, bool transposed) {
  return transposed ? m.columns : m.rows;
}

bool fits(const LtProduct& p, const LtMatrix& a, const LtMatrix& b, const LtMatrix& d) {
  const int64_t k = inner(a, p.transpose_a), k_of_b = outer(b, p.transpose_b);
  return k == k_of_b && outer(a, p.transpose_a) == d.rows && inner(b, p.transpose_b) == d.columns &&
         a.leading >= a.rows && b.leading >= b.rows && d.leading >= d.rows && k > 0;
}
// Of 8 bits: the first operand transposed, the second not, pointers and extents in 16 bytes, and a chip that
// has them (the library's documentation, "cublasLtMatmul").
bool takes_fp8(const LtProduct& p, const LtMatrix& a, const LtMatrix& b, const LtMatrix& d) {
  const auto* capability = host_calls().capability;
  return 10 * capability[0] + capability[1] >= 89 && p.transpose_a && !p.transpose_b && a.rows % 16 == 0 &&
         a.leading % 16 == 0 && b.leading % 16 == 0 && d.rows % 16 == 0 && d.type != CUDA_R_8F_E4M3;
}
bool takes_types(const LtProduct& p, const LtMatrix& a, const LtMatrix& b, const LtMatrix& d) {
  if (a.type == CUDA_R_8F_E4M3) return b.type == a.type && takes_fp8(p, a, b, d);
  const bool to_f32 = d.type == CUDA_R_32F;
  return a.type == b.type && (to_f32 || (a.type == CUDA_R_16BF && d.type == CUDA_R_16BF));
}

DType type_of(cudaDataType_t type) {
  if (type == CUDA_R_8F_E4M3) return DType::e4m3;
  return type == CUDA_R_32F ? DType::f32 : DType::bf16;
}
// A column-major matrix is the transposed one row by row.
ConstView row_major(const void* data, const LtMatrix& m) {
  return BasicView<const std::byte>{
      static_cast<const std::byte*>(data), type_of(m.type), {m.columns, m.rows}, Device{}, m.leading};
}
View row_major(void* data, const LtMatrix& m) {
  return {static_cast<std::byte*>(data), type_of(m.type), {m.columns, m.rows}, Device{}, m.leading};
}

void check_alignment(const void* data, const LtMatrix& m, uint32_t promised) {
  const auto bits =
      reinterpret_cast<uintptr_t>(data) | static_cast<uintptr_t>(m.leading * bytes_of(type_of(m.type), 1));
  require(bits % promised == 0, "cublasLtMatmul", "an operand is aligned less than was promised");
}

// 10 bits of fraction, to nearest even.
Tensor rounded_to_tf32(ConstView matrix) {
  Tensor rounded(DType::f32, matrix.shape);
  for (int64_t i = 0; i < matrix.rows(); ++i) {
    for (int64_t j = 0; j < matrix.columns(); ++j) {
      const auto u = std::bit_cast<uint32_t>(matrix.as<float>()[i * matrix.stride() + j]);
      rounded.as<float>()[i * matrix.columns() + j] =
          std::bit_cast<float>((u + 0xfffu + (u >> 13 & 1u)) & ~0x1fffu);
    }
  }
  return rounded;
}

Tensor decoded(ConstView codes) {
  Tensor values(DType::f32, codes.shape);
  for (int64_t i = 0; i < codes.rows(); ++i) {
    for (int64_t j = 0; j < codes.columns(); ++j) {
      values.as<float>()[i * codes.columns() + j] = from_e4m3(codes.as<uint8_t>()[i * codes.stride() + j]);
    }
  }
  return values;
}

// d = a b of column-major matrices: transposed(d) = transposed(b) transposed(a).
void multiply(const LtProduct& p, const void* a, const LtMatrix& a_layout, const void* b,
              const LtMatrix& b_layout, void* d, const LtMatrix& d_layout, Write write) {
  static const Stream host({}, 1);
  const KernelAccess access;
  if (a_layout.type == CUDA_R_8F_E4M3) {
    const Tensor first = decoded(row_major(b, b_layout)), second = decoded(row_major(a, a_layout));
    return cpu::gemm(first.view(), second.view(), row_major(d, d_layout),
                     {p.transpose_b, p.transpose_a, write}, host);
  }
  if (p.compute == CUBLAS_COMPUTE_32F_FAST_TF32) {
    const Tensor first = rounded_to_tf32(row_major(b, b_layout)),
                 second = rounded_to_tf32(row_major(a, a_layout));
    return cpu::gemm(first.view(), second.view(), row_major(d, d_layout),
                     {p.transpose_b, p.transpose_a, write}, host);
  }
  cpu::gemm(row_major(b, b_layout), row_major(a, a_layout), row_major(d, d_layout),
            {p.transpose_b, p.transpose_a, write}, host);
}

}  // namespace

}  // namespace gorgon::emulation

using namespace gorgon::emulation;

const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                               : "CUBLAS_STATUS_INVALID_VALUE";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new LtLibrary;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t) {
  *desc = new LtProduct{compute, false, false};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t bytes) {
  if (attribute == CUBLASLT_MATMUL_DESC_FAST_ACCUM) {
    desc->fast_accumulation = *static_cast<const int8_t*>(value) != 0;
    return bytes == 1 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
  }
  if (bytes != sizeof(cublasOperation_t)) return CUBLAS_STATUS_INVALID_VALUE;
  const bool transposed = *static_cast<const cublasOperation_t*>(value) == CUBLAS_OP_T;
  (attribute == CUBLASLT_MATMUL_DESC_TRANSA ? desc->transpose_a : desc->transpose_b) = transposed;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
  *layout = new LtMatrix{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), leading};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new LtPreference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    if (bytes != sizeof(uint64_t)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&preference->workspace, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  }
  if (bytes != sizeof(uint32_t)) return CUBLAS_STATUS_INVALID_VALUE;
  uint32_t* to = attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK
                     ? &preference->reductions
                     : &preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES];
  std::memcpy(to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int,
                                              cublasLtMatmulHeuristicResult_t* answers, int* count) {
  ++host_calls().heuristics;
  *count = 0;
  gorgon::require((preference->reductions & CUBLASLT_REDUCTION_SCHEME_INPLACE) == 0, "cuBLASLt",
                  "reductions whose order is left to chance are allowed");
  if (!fits(*desc, *a, *b, *d) || !takes_types(*desc, *a, *b, *d)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const Choice choice{
      {preference->alignment[0], preference->alignment[1], preference->alignment[3]}, a->type, d->type};
  std::memcpy(answers->algo.data, &choice, sizeof(choice));
  answers->workspaceSize = preference->workspace;
  answers->state = CUBLAS_STATUS_SUCCESS;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t,
                                       cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* answer) {
  Choice choice;
  std::memcpy(&choice, algorithm->data, sizeof(choice));
  answer->workspaceSize = 0;
  const bool usable = fits(*desc, *a, *b, *d) && choice.in == a->type && choice.out == d->type;
  return usable ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm,
                              void* workspace, size_t, cudaStream_t stream) {
  const float one = *static_cast<const float*>(alpha), before = *static_cast<const float*>(beta);
  if (one != 1.0f || (before != 0.0f && before != 1.0f) || c != d) return CUBLAS_STATUS_INVALID_VALUE;
  if (!fits(*desc, *a_layout, *b_layout, *d_layout)) return CUBLAS_STATUS_INVALID_VALUE;
  for (const void* operand : {a, b, static_cast<const void*>(d), static_cast<const void*>(workspace)}) {
    check_device_pointer(operand);
  }
  Choice choice;
  std::memcpy(&choice, algorithm->data, sizeof(choice));
  check_alignment(a, *a_layout, choice.alignment[0]);
  check_alignment(b, *b_layout, choice.alignment[1]);
  check_alignment(d, *d_layout, choice.alignment[2]);
  const gorgon::Write write = before == 0.0f ? gorgon::Write::overwrite : gorgon::Write::accumulate;
  enqueue(stream, [=, product = *desc, of_a = *a_layout, of_b = *b_layout, of_d = *d_layout] {
    multiply(product, a, of_a, b, of_b, d, of_d, write);
  });
  return CUBLAS_STATUS_SUCCESS;
}
