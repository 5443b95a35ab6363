#include "kernels/cuda/device.h"
#include "kernels/loss_sums.h"

namespace gorgon::cuda {

namespace {

constexpr int kThreads = 512;

// One block: the order of the additions depends on nothing but the number of rows.
__global__ void loss_sums_kernel(const float* max, const float* sum, const float* label_logit,
                                 const int32_t* hits, const int32_t* labels, int64_t rows, bool accumulate,
                                 LossSums* to) {
  GORGON_DYNAMIC_SHARED(double, scratch);
  double loss = 0.0;
  int64_t top[5] = {0, 0, 0, 0, 0};
  for (int64_t i = threadIdx.x; i < rows; i += kThreads) {
    if (labels[i] < 0) continue;
    loss +=
        static_cast<double>(max[i]) + log(static_cast<double>(sum[i])) - static_cast<double>(label_logit[i]);
    for (int n = 0; n < 5; ++n) top[n] += hits[i] <= n ? 1 : 0;
  }
  loss = block_reduce<Sum>(loss, scratch, 0.0);
  auto* counts = reinterpret_cast<int64_t*>(scratch);
  for (int n = 0; n < 5; ++n) top[n] = block_reduce<Sum>(top[n], counts, int64_t{0});
  if (threadIdx.x != 0) return;
  to->cross_entropy = loss + (accumulate ? to->cross_entropy : 0.0);
  for (int n = 0; n < 5; ++n) to->top[n] = top[n] + (accumulate ? to->top[n] : 0);
}

// A thread a head.
__global__ void add_kernel(const LossSums* parts, int n, int heads, LossSums* to) {
  const int k = static_cast<int>(threadIdx.x);
  if (k >= heads) return;
  LossSums sum = parts[k];
  for (int r = 1; r < n; ++r) {
    const LossSums& part = parts[r * heads + k];
    sum.cross_entropy += part.cross_entropy;
    for (int i = 0; i < 5; ++i) sum.top[i] += part.top[i];
  }
  to[k] = sum;
}

}  // namespace

void loss_sums(const CrossEntropyStatistics& statistics, ConstView hits, ConstView labels, Write write,
               LossSums* sums, const Stream& stream) {
  launch(loss_sums_kernel, dim3(1), dim3(kThreads), kWarpSize * sizeof(double), stream,
         statistics.max.as<float>(), statistics.sum.as<float>(), statistics.label_logit.as<float>(),
         hits.as<int32_t>(), labels.as<int32_t>(), labels.elements(), write == Write::accumulate, sums);
}

void add_losses(const LossSums* parts, int n, int heads, LossSums* to, const Stream& stream) {
  launch(add_kernel, dim3(1), dim3(static_cast<unsigned>(divide_up(heads, kWarpSize) * kWarpSize)), 0, stream,
         parts, n, heads, to);
}

}  // namespace gorgon::cuda
