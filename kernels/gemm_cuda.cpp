// CUDA backend of gemm(): cuBLASLt, with an own kernel for the products it does not take.
#include <algorithm>
#include <string>

#include "kernels/cuda/gemm_plain.h"
#include "kernels/cuda/gemm_plans.h"
#include "kernels/cuda/queue.h"
#include "kernels/error.h"
#include "kernels/gemm.h"

namespace gorgon::cuda {

namespace {

constexpr size_t kWorkspaceBytes = 32u << 20;  // what cuBLAS recommends for Hopper
constexpr size_t kMostPlans = 4096;
// In f32 every number of rows takes the algorithm of this many, so that a row does not depend on its company.
constexpr int64_t kRowsOfChoice = 256;

void check_lt(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail(ExitCode::resource,
       {"", call, "success", cublasLtGetStatusString(status), "see docs/errors.md for failures of the GPU"});
}

cudaDataType_t cuda_type(DType type) {
  if (type == DType::e4m3) return CUDA_R_8F_E4M3;
  return type == DType::f32 ? CUDA_R_32F : CUDA_R_16BF;
}

// A row-major [rows, columns] matrix with `stride` elements a row is column-major [columns, rows].
LtLayout layout(DType type, int64_t rows, int64_t columns, int64_t stride) {
  cublasLtMatrixLayout_t made = nullptr;
  check_lt(cublasLtMatrixLayoutCreate(&made, cuda_type(type), static_cast<uint64_t>(columns),
                                      static_cast<uint64_t>(rows), stride),
           "cublasLtMatrixLayoutCreate");
  return LtLayout(made);
}

struct Layouts {
  LtLayout a, b, c;
};
Layouts layouts_of(const GemmShape& s) {
  return {s.transpose_a ? layout(s.in, s.k, s.m, s.stride_a) : layout(s.in, s.m, s.k, s.stride_a),
          s.transpose_b ? layout(s.in, s.n, s.k, s.stride_b) : layout(s.in, s.k, s.n, s.stride_b),
          layout(s.out, s.m, s.n, s.stride_c)};
}

template <typename Value>
void set(cublasLtMatmulDesc_t matmul, cublasLtMatmulDescAttributes_t attribute, Value value) {
  check_lt(cublasLtMatmulDescSetAttribute(matmul, attribute, &value, sizeof(value)),
           "cublasLtMatmulDescSetAttribute");
}
template <typename Value>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
  check_lt(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
           "cublasLtMatmulPreferenceSetAttribute");
}

int alignment_of(const void* data, int64_t stride_bytes) {
  const auto bits = reinterpret_cast<uintptr_t>(data) | static_cast<uintptr_t>(stride_bytes) | 16u;
  return static_cast<int>(bits & (~bits + 1));
}

}  // namespace

GemmPlans::GemmPlans(int device) : device_(device) {
  cublasLtHandle_t made = nullptr;
  check_lt(cublasLtCreate(&made), "cublasLtCreate");
  handle_.reset(made);
  workspace_ = gorgon::allocate({DeviceKind::cuda, device}, kWorkspaceBytes, {"working memory of cuBLASLt"});
}

GemmPlans::~GemmPlans() {
  gorgon::release({DeviceKind::cuda, device_}, workspace_);
}

// Reductions across blocks in place depend on the order in which blocks finish; f32 takes none at all, since
// their number may follow the number of rows.
bool GemmPlans::choose(const GemmShape& shape, Plan& plan, const cublasLtMatrixLayout_t* layouts) {
  cublasLtMatmulPreference_t made = nullptr;
  check_lt(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate");
  const std::unique_ptr<cublasLtMatmulPreference_t,
                        LtDelete<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>>
      preference(made);
  const uint32_t reductions = shape.in == DType::f32
                                  ? static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE)
                                  : static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
  set(made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions);
  set(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(shape.alignment_b));
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(shape.alignment_a));
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(shape.alignment_c));
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(shape.alignment_c));
  cublasLtMatmulHeuristicResult_t answer{};
  int answers = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle_.get(), plan.matmul.get(), layouts[0], layouts[1], layouts[2],
                                     layouts[2], made, 1, &answer, &answers);
  plan.algorithm = answer.algo;
  return status == CUBLAS_STATUS_SUCCESS && answers == 1 && answer.state == CUBLAS_STATUS_SUCCESS;
}

GemmPlans::Plan GemmPlans::make(const GemmShape& shape) {
  Plan plan;
  const bool tf32 = shape.tf32 && shape.in == DType::f32;
  cublasLtMatmulDesc_t made = nullptr;
  check_lt(
      cublasLtMatmulDescCreate(&made, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
      "cublasLtMatmulDescCreate");
  plan.matmul.reset(made);
  set(made, CUBLASLT_MATMUL_DESC_TRANSA, shape.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(made, CUBLASLT_MATMUL_DESC_TRANSB, shape.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (shape.in == DType::e4m3) set(made, CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t{1});
  Layouts own = layouts_of(shape);
  GemmShape of_choice = shape;
  if (shape.in == DType::f32) of_choice.m = kRowsOfChoice;
  // As stored, a transposed a has m columns; its stride must hold them.
  if (shape.transpose_a) of_choice.stride_a = std::max(shape.stride_a, of_choice.m);
  const Layouts chosen = layouts_of(of_choice);
  const cublasLtMatrixLayout_t layouts[] = {chosen.b.get(), chosen.a.get(), chosen.c.get()};
  plan.usable = choose(shape, plan, layouts);
  plan.first = std::move(own.b);
  plan.second = std::move(own.a);
  plan.result = std::move(own.c);
  if (plan.usable) {
    cublasLtMatmulHeuristicResult_t answer{};
    plan.usable =
        cublasLtMatmulAlgoCheck(handle_.get(), made, plan.first.get(), plan.second.get(), plan.result.get(),
                                plan.result.get(), &plan.algorithm, &answer) == CUBLAS_STATUS_SUCCESS &&
        answer.workspaceSize <= kWorkspaceBytes;
  }
  return plan;
}

const GemmPlans::Plan& GemmPlans::plan(const GemmShape& shape) {
  const auto found = plans_.find(shape);
  if (found != plans_.end()) return found->second;
  if (plans_.size() >= kMostPlans) plans_.clear();
  return plans_.emplace(shape, make(shape)).first->second;
}

bool GemmPlans::multiply(const GemmShape& shape, const void* a, const void* b, void* c, cudaStream_t stream) {
  const Plan& chosen = plan(shape);
  if (!chosen.usable) return false;
  const float one = 1.0f, before = shape.accumulate ? 1.0f : 0.0f;
  check_lt(cublasLtMatmul(handle_.get(), chosen.matmul.get(), &one, b, chosen.first.get(), a,
                          chosen.second.get(), &before, c, chosen.result.get(), c, chosen.result.get(),
                          &chosen.algorithm, workspace_, kWorkspaceBytes, stream),
           "cublasLtMatmul");
  return true;
}

void gemm(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream) {
  Queue& queue = queue_of(stream);
  select_device(queue.device);
  if (queue.gemm_plans == nullptr) queue.gemm_plans = std::make_unique<GemmPlans>(queue.device);
  const auto bytes = [](const auto& view) { return bytes_of(view.type, view.stride()); };
  const GemmShape shape{c.shape[0],
                        c.shape[1],
                        options.transpose_a ? a.shape[0] : a.shape[1],
                        a.stride(),
                        b.stride(),
                        c.stride(),
                        a.type,
                        c.type,
                        options.transpose_a,
                        options.transpose_b,
                        options.write == Write::accumulate,
                        stream.tf32(),
                        alignment_of(a.data, bytes(a)),
                        alignment_of(b.data, bytes(b)),
                        alignment_of(c.data, bytes(c))};
  const bool mixed = a.type == DType::f32 && c.type == DType::bf16;  // cuBLASLt rounds no f32 product to bf16
  if (!mixed && queue.gemm_plans->multiply(shape, a.data, b.data, c.data, queue.stream)) return;
  if (a.type == DType::e4m3) {
    fail(ExitCode::resource, {"", "fp8", "a product " + to_string(a.shape) + " " + to_string(b.shape),
                              "none in this cuBLASLt", "take the key out"});
  }
  gemm_plain(a, b, c, options, stream);
}

}  // namespace gorgon::cuda
