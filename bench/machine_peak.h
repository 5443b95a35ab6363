#pragma once

#include <benchmark/benchmark.h>

#include "kernels/device.h"

namespace gorgon::bench {

// What this machine can do, measured once per run with the threads of `stream`.
struct MachinePeak {
  double f32_flops;   // best rate of cache-sized products, operations per second
  double bf16_flops;  // likewise in bf16
  double bandwidth;   // bytes per second of a copy far larger than the caches (read + written)
};
const MachinePeak& machine_peak(const Stream& stream);

// Sets the counters that every kernel benchmark reports.
void report_flops(benchmark::State& state, const Stream& stream, bool bf16, double flops_per_iteration);
void report_bytes(benchmark::State& state, const Stream& stream, double bytes_per_iteration);

}  // namespace gorgon::bench
