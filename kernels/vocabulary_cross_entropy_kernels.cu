// Cross-entropy over logits that are there already: one block a row, sums in a fixed order.
#include "kernels/cuda/device.h"
#include "kernels/vocabulary_cross_entropy.h"

namespace gorgon::cuda {

namespace {

// Threads of a row: no more than it has packs, no fewer than a warp. Sums depend on them, hence on n alone.
template <typename T>
dim3 threads_of(int64_t n) {
  const int64_t packs = divide_up(divide_up(n, int64_t{kPack<T>}), int64_t{kWarpSize}) * kWarpSize;
  return dim3(static_cast<unsigned>(std::min<int64_t>(512, packs)));
}

constexpr size_t kScratchBytes = kWarpSize * sizeof(float);

__device__ __forceinline__ float minus_infinity() {
  return __uint_as_float(0xff800000u);
}

// Calls take(first, pack) for every full pack of the row that is this thread's, and take(index, element) for
// the elements in front of the first aligned pack and behind the last one.
template <typename T, typename Elements, typename Packs>
__device__ __forceinline__ void for_row(const T* row, int64_t n, Elements&& element, Packs&& packs) {
  constexpr int kCount = kPack<T>;
  const auto misalignment = static_cast<int64_t>(reinterpret_cast<uintptr_t>(row) % 16 / sizeof(T));
  int64_t head = misalignment == 0 ? 0 : kCount - misalignment;
  if (head > n) head = n;
  const int64_t full = (n - head) / kCount, tail = head + full * kCount;
  const auto thread = static_cast<int64_t>(threadIdx.x), threads = static_cast<int64_t>(blockDim.x);
  for (int64_t j = thread; j < head; j += threads) element(j);
  for (int64_t p = thread; p < full; p += threads) packs(head + p * kCount);
  for (int64_t j = tail + thread; j < n; j += threads) element(j);
}

// Maximum and sum of exponentials of the numbers seen so far, rescaled when the maximum grows.
struct Online {
  float max, sum;

  __device__ void take(float z) {
    if (z > max) {
      sum = sum * expf(max - z) + 1.0f;  // max is -inf at first: exp gives 0
      max = z;
    } else if (z != minus_infinity()) {  // a NaN comes here, and stays in the sum
      sum += expf(z - max);
    }
  }
};

template <typename T>
__global__ void statistics_kernel(const T* logits, int64_t stride, int64_t n, const int32_t* labels,
                                  int64_t begin, float* max, float* sum, float* label_logit) {
  GORGON_DYNAMIC_SHARED(float, scratch);
  const auto r = static_cast<int64_t>(blockIdx.x);
  const T* row = logits + r * stride;
  Online mine{minus_infinity(), 0.0f};
  for_row(
      row, n, [&](int64_t j) { mine.take(to_float(row[j])); },
      [&](int64_t first) {
        const auto pack = load_pack<kPack<T>>(row + first);
        for (int i = 0; i < kPack<T>; ++i) mine.take(to_float(pack.value[i]));
      });
  const float row_max = block_reduce<Max>(mine.max, scratch, minus_infinity());
  const float share = mine.sum == 0.0f ? 0.0f : mine.sum * expf(mine.max - row_max);
  const float row_sum = block_reduce<Sum>(share, scratch, 0.0f);
  if (threadIdx.x != 0) return;
  const int64_t label = labels[r] - begin;
  max[r] = row_max;
  sum[r] = row_sum;
  label_logit[r] = labels[r] >= 0 && label >= 0 && label < n ? to_float(row[label]) : minus_infinity();
}

// What the second pass needs to know of a row.
struct Row {
  float max, scale, label_logit;  // scale = row_scale / sum
  float row_scale;
  int64_t label;  // within this range; outside of it no j equals it
};

__device__ __forceinline__ int is_ahead(float z, int64_t j, const Row& row) {
  return z > row.label_logit || (z == row.label_logit && j < row.label) ? 1 : 0;
}
__device__ __forceinline__ float gradient(float z, int64_t j, const Row& row) {
  if (row.row_scale == 0.0f) return 0.0f;
  return row.scale * expf(z - row.max) - (j == row.label ? row.row_scale : 0.0f);
}

template <typename T, bool kGradient>
__global__ void second_pass_kernel(T* logits, int64_t stride, int64_t n, const int32_t* labels, int64_t begin,
                                   const float* max, const float* sum, const float* label_logit,
                                   const float* row_scale, int32_t* hits) {
  GORGON_DYNAMIC_SHARED(int, scratch);
  const auto r = static_cast<int64_t>(blockIdx.x);
  T* values = logits + r * stride;
  const float scale = kGradient ? row_scale[r] : 0.0f;
  const Row row{max[r], kGradient ? scale / sum[r] : 0.0f, label_logit[r], scale, labels[r] - begin};
  int ahead = 0;
  for_row(
      values, n,
      [&](int64_t j) {
        const float z = to_float(values[j]);
        ahead += is_ahead(z, j, row);
        if (kGradient) values[j] = from_float<T>(gradient(z, j, row));
      },
      [&](int64_t first) {
        auto pack = load_pack<kPack<T>>(values + first);
        for (int i = 0; i < kPack<T>; ++i) {
          const float z = to_float(pack.value[i]);
          ahead += is_ahead(z, first + i, row);
          if (kGradient) pack.value[i] = from_float<T>(gradient(z, first + i, row));
        }
        if (kGradient) store_pack(values + first, pack);
      });
  ahead = block_reduce<Sum>(ahead, scratch, 0);
  if (threadIdx.x == 0) hits[r] = ahead;
}

// A thread a row.
__global__ void merge_kernel(const float* ranges, int64_t n, int64_t rows, float* max, float* sum,
                             float* label_logit) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= rows) return;
  float highest = minus_infinity(), label = minus_infinity(), total = 0.0f;
  for (int64_t r = 0; r < n; ++r) {
    highest = fmaxf(highest, ranges[3 * r * rows + i]);
    label = fmaxf(label, ranges[(3 * r + 2) * rows + i]);
  }
  for (int64_t r = 0; r < n; ++r) {
    const float part = ranges[(3 * r + 1) * rows + i];
    if (part != 0.0f) total += part * expf(ranges[3 * r * rows + i] - highest);  // 0: an empty range
  }
  max[i] = highest;
  sum[i] = total;
  label_logit[i] = label;
}

template <typename T>
void statistics(ConstView logits, ConstView labels, int64_t begin, const CrossEntropyStatistics& result,
                const Stream& stream) {
  launch(statistics_kernel<T>, dim3(static_cast<unsigned>(logits.rows())), threads_of<T>(logits.columns()),
         kScratchBytes, stream, logits.as<T>(), logits.stride(), logits.columns(), labels.as<int32_t>(),
         begin, result.max.as<float>(), result.sum.as<float>(), result.label_logit.as<float>());
}

template <typename T, bool kGradient>
void second_pass(T* logits, int64_t stride, int64_t n, ConstView labels, int64_t begin,
                 const CrossEntropyStatistics& whole, const float* row_scale, View hits,
                 const Stream& stream) {
  launch(second_pass_kernel<T, kGradient>, dim3(static_cast<unsigned>(hits.rows())), threads_of<T>(n),
         kScratchBytes, stream, logits, stride, n, labels.as<int32_t>(), begin, whole.max.as<float>(),
         whole.sum.as<float>(), whole.label_logit.as<float>(), row_scale, hits.as<int32_t>());
}

}  // namespace

void cross_entropy_statistics(ConstView x, ConstView weight, ConstView labels, int64_t begin, View logits,
                              const CrossEntropyStatistics& result, const Stream& stream) {
  gorgon::gemm(x, weight, logits, {.transpose_b = true}, stream);
  logits.type == DType::f32 ? statistics<float>(logits, labels, begin, result, stream)
                            : statistics<bf16>(logits, labels, begin, result, stream);
}

// The kernel writes logits only where it is asked for the gradient.
void cross_entropy_hits(ConstView logits, ConstView labels, int64_t begin,
                        const CrossEntropyStatistics& whole, View hits, const Stream& stream) {
  if (logits.type == DType::f32) {
    second_pass<float, false>(const_cast<float*>(logits.as<float>()), logits.stride(), logits.columns(),
                              labels, begin, whole, nullptr, hits, stream);
  } else {
    second_pass<bf16, false>(const_cast<bf16*>(logits.as<bf16>()), logits.stride(), logits.columns(), labels,
                             begin, whole, nullptr, hits, stream);
  }
}

void cross_entropy_gradient(View logits, ConstView labels, int64_t begin, const CrossEntropyStatistics& whole,
                            ConstView row_scale, View hits, const Stream& stream) {
  const auto* scale = row_scale.as<float>();
  logits.type == DType::f32 ? second_pass<float, true>(logits.as<float>(), logits.stride(), logits.columns(),
                                                       labels, begin, whole, scale, hits, stream)
                            : second_pass<bf16, true>(logits.as<bf16>(), logits.stride(), logits.columns(),
                                                      labels, begin, whole, scale, hits, stream);
}

void merge_ranges(ConstView ranges, const CrossEntropyStatistics& whole, const Stream& stream) {
  constexpr unsigned kThreads = 128;
  const int64_t rows = ranges.shape[2];
  launch(merge_kernel, dim3(static_cast<unsigned>(divide_up(rows, int64_t{kThreads}))), dim3(kThreads), 0,
         stream, ranges.as<float>(), ranges.shape[0], rows, whole.max.as<float>(), whole.sum.as<float>(),
         whole.label_logit.as<float>());
}

}  // namespace gorgon::cuda
