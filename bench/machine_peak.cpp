#include "bench/machine_peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/thread_pool.h"

namespace gorgon::bench {

namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The best rate of products whose operands stay in the second-level cache, several sizes.
double gemm_peak(const Stream& stream, DType type) {
  double best = 0;
  for (const int64_t k : {576, 1024, 1536}) {
    const int64_t m = 256L * stream.threads().size(), n = 1536;
    const Tensor a = Tensor::zeros(type, {m, k}), b = Tensor::zeros(type, {n, k});
    Tensor c(DType::f32, {m, n});
    for (int round = 0; round < 8; ++round) {
      const auto begin = std::chrono::steady_clock::now();
      gemm(a.view(), b.view(), c.view(), {false, true, Write::overwrite}, stream);
      best = std::max(best, 2.0 * static_cast<double>(m * n * k) / seconds_since(begin));
    }
  }
  return best;
}

double copy_bandwidth(const Stream& stream) {
  constexpr int64_t kBytes = 512L << 20, kPiece = 8L << 20;
  std::vector<std::byte> from(kBytes), to(kBytes);
  double best = 0;
  for (int round = 0; round < 5; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    stream.threads().parallel_ranges(kBytes, kPiece, [&](int64_t first, int64_t last) {
      std::memcpy(to.data() + first, from.data() + first, static_cast<size_t>(last - first));
    });
    best = std::max(best, 2.0 * kBytes / seconds_since(begin));
  }
  return best;
}

}  // namespace

const MachinePeak& machine_peak(const Stream& stream) {
  static const MachinePeak peak = {gemm_peak(stream, DType::f32), gemm_peak(stream, DType::bf16),
                                   copy_bandwidth(stream)};
  return peak;
}

void report_flops(benchmark::State& state, const Stream& stream, bool bf16, double flops_per_iteration) {
  using benchmark::Counter;
  const double peak = bf16 ? machine_peak(stream).bf16_flops : machine_peak(stream).f32_flops;
  const double total = flops_per_iteration * static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = Counter(total * 1e-9, Counter::kIsRate);
  state.counters["share_of_peak"] = Counter(total / peak, Counter::kIsRate);
}

void report_bytes(benchmark::State& state, const Stream& stream, double bytes_per_iteration) {
  using benchmark::Counter;
  const double total = bytes_per_iteration * static_cast<double>(state.iterations());
  state.counters["GB/s"] = Counter(total * 1e-9, Counter::kIsRate);
  state.counters["share_of_peak"] = Counter(total / machine_peak(stream).bandwidth, Counter::kIsRate);
}

}  // namespace gorgon::bench
