#include "kernels/cuda/elementwise.h"
#include "optim/gradient_clipping.h"

namespace gorgon::cuda {

namespace {

constexpr int kThreads = 256, kLastThreads = 1024;

template <typename T>
__global__ void square_pieces_kernel(const T* values, int64_t n, bool aligned, double* pieces) {
  GORGON_DYNAMIC_SHARED(float, scratch);
  constexpr int kCount = kPack<T>;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kNormPiece;
  const int64_t end = first + kNormPiece < n ? first + kNormPiece : n;
  float sum = 0.0f;
  for (int64_t i = first + static_cast<int64_t>(threadIdx.x) * kCount; i < end; i += kThreads * kCount) {
    if (aligned && i + kCount <= end) {
      const auto pack = load_pack<kCount>(values + i);
      for (int j = 0; j < kCount; ++j) sum = fmaf(to_float(pack.value[j]), to_float(pack.value[j]), sum);
    } else {
      for (int64_t j = i; j < i + kCount && j < end; ++j)
        sum = fmaf(to_float(values[j]), to_float(values[j]), sum);
    }
  }
  sum = block_reduce<Sum>(sum, scratch, 0.0f);
  if (threadIdx.x == 0) pieces[blockIdx.x] = static_cast<double>(sum);
}

__global__ void sum_pieces_kernel(const double* pieces, int64_t n, float* sum) {
  GORGON_DYNAMIC_SHARED(double, scratch);
  double mine = 0.0;
  for (int64_t i = threadIdx.x; i < n; i += kLastThreads) mine += pieces[i];
  mine = block_reduce<Sum>(mine, scratch, 0.0);
  if (threadIdx.x == 0) *sum = static_cast<float>(mine);
}

template <typename T>
void run(ConstView values, double* pieces, int64_t count, const Stream& stream) {
  launch(square_pieces_kernel<T>, dim3(static_cast<unsigned>(count)), dim3(kThreads),
         kWarpSize * sizeof(float), stream, values.as<T>(), values.elements(),
         reinterpret_cast<uintptr_t>(values.data) % 16 == 0, pieces);
}

}  // namespace

void square_sum(ConstView values, View sum, const Stream& stream) {
  const int64_t count = divide_up(values.elements(), kNormPiece);
  auto* pieces = static_cast<double*>(stream.scratch(count * static_cast<int64_t>(sizeof(double))));
  if (count > 0) {
    values.type == DType::f32 ? run<float>(values, pieces, count, stream)
                              : run<bf16>(values, pieces, count, stream);
  }
  launch(sum_pieces_kernel, dim3(1), dim3(kLastThreads), kWarpSize * sizeof(double), stream, pieces, count,
         sum.as<float>());
}

}  // namespace gorgon::cuda
