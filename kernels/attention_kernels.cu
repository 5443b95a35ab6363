// Attention on plain arithmetic: any type and head size up to 256. Twice through the keys, first for the
// highest score, then for weights and sums in order of the keys, so that a token's bits depend on the keys it
// sees alone.
#include "kernels/cuda/attention_sight.h"
#include "kernels/error.h"

namespace gorgon::cuda {

namespace {

constexpr int kQueries = 16, kKeys = 32, kThreads = 128;
constexpr int kThreadsPerQuery = kThreads / kQueries;

// Shared memory of a block, rows padded against bank conflicts.
struct Tiles {
  float *queries, *keys,
      *weights;  // [kQueries][dim + 1], [kKeys][dim + 1] (values later), [kQueries][kKeys + 1]
  int stride;    // dim + 1
};
size_t tile_bytes(int64_t dim) {
  return static_cast<size_t>((kQueries + kKeys) * (dim + 1) + kQueries * (kKeys + 1)) * sizeof(float);
}

// Rows [first, first + count) of a head into shared memory, rows from `end` on as zeros.
template <typename T>
__device__ void load_rows(const T* from, int64_t stride, int64_t first, int64_t end, int count, int dim,
                          float* to, int to_stride) {
  for (int i = static_cast<int>(threadIdx.x); i < count * dim; i += kThreads) {
    const int row = i / dim, d = i % dim;
    to[row * to_stride + d] = first + row < end ? to_float(from[(first + row) * stride + d]) : 0.0f;
  }
}

// weights[query][key] = score, or -inf where the query does not see the key.
__device__ void score(const Tiles& tiles, const AttentionBatch& batch, const SequenceOnDevice& s,
                      int64_t first_token, int64_t first_key, const AttentionHeads& heads) {
  for (int i = static_cast<int>(threadIdx.x); i < kQueries * kKeys; i += kThreads) {
    const int query = i / kKeys, key = i % kKeys;
    float result = __uint_as_float(0xff800000u);
    const int64_t token = first_token + query;
    if (token < s.tokens && sees(sight_of(batch, s, token, heads.window), s, first_key + key, heads.window)) {
      float sum = 0.0f;
      for (int d = 0; d < heads.dim; ++d) {
        sum = fmaf(tiles.queries[query * tiles.stride + d], tiles.keys[key * tiles.stride + d], sum);
      }
      result = sum * heads.scale;
    }
    tiles.weights[query * (kKeys + 1) + key] = result;
  }
}

struct KeyRange {
  int64_t begin, end;
};
__device__ KeyRange keys_of_tile(const AttentionBatch& batch, const SequenceOnDevice& s, int64_t first_token,
                                 int64_t window) {
  KeyRange all{static_cast<int64_t>(s.past) + s.tokens, 0};
  for (int64_t token = first_token; token < first_token + kQueries && token < s.tokens; ++token) {
    const Sight sight = sight_of(batch, s, token, window);
    if (sight.begin < all.begin) all.begin = sight.begin;
    if (sight.end > all.end) all.end = sight.end;
  }
  return all;
}

// A block: kQueries tokens of one head; eight threads share a token's output. kSlots * 8 >= dim.
template <typename T, int kSlots>
__global__ void __launch_bounds__(kThreads)
    attention_kernel(const T* q, int64_t q_stride, T* out, int64_t out_stride,
                     GORGON_GRID_CONSTANT const AttentionBatch batch, AttentionHeads heads) {
  const SequenceOnDevice& s = batch.sequence[blockIdx.z];
  const int64_t first_token = static_cast<int64_t>(blockIdx.x) * kQueries;
  if (first_token >= s.tokens) return;
  GORGON_DYNAMIC_SHARED(float, shared);
  const int dim = heads.dim, stride = dim + 1, head = static_cast<int>(blockIdx.y);
  const Tiles tiles{shared, shared + kQueries * stride, shared + (kQueries + kKeys) * stride, stride};
  const T* keys = static_cast<const T*>(s.keys) + head / heads.group * dim;
  const T* values = static_cast<const T*>(s.values) + head / heads.group * dim;
  const int64_t known = static_cast<int64_t>(s.past) + s.tokens;
  const int query = static_cast<int>(threadIdx.x) / kThreadsPerQuery;
  const int part = static_cast<int>(threadIdx.x) % kThreadsPerQuery;
  const float* weights = tiles.weights + query * (kKeys + 1);

  load_rows(q + s.begin * q_stride + static_cast<int64_t>(head) * dim, q_stride, first_token,
            int64_t{s.tokens}, kQueries, dim, tiles.queries, stride);
  const KeyRange range = keys_of_tile(batch, s, first_token, heads.window);
  float top = __uint_as_float(0xff800000u);
  for (int64_t key = range.begin; key < range.end; key += kKeys) {
    load_rows(keys, s.key_stride, key, known, kKeys, dim, tiles.keys, stride);
    __syncthreads();
    score(tiles, batch, s, first_token, key, heads);
    __syncthreads();
    for (int i = part; i < kKeys; i += kThreadsPerQuery) top = Max::of(weights[i], top);
  }
  for (int lanes = kThreadsPerQuery / 2; lanes > 0; lanes /= 2)
    top = Max::of(top, __shfl_xor_sync(kFullMask, top, lanes));

  float sum = 0.0f, output[kSlots] = {};
  for (int64_t key = range.begin; key < range.end; key += kKeys) {
    load_rows(keys, s.key_stride, key, known, kKeys, dim, tiles.keys, stride);
    __syncthreads();
    score(tiles, batch, s, first_token, key, heads);
    __syncthreads();
    load_rows(values, s.value_stride, key, known, kKeys, dim, tiles.keys, stride);
    __syncthreads();
    for (int i = 0; i < kKeys; ++i) {
      const float score_of_key = weights[i];
      const float weight = score_of_key > __uint_as_float(0xff800000u) ? expf(score_of_key - top) : 0.0f;
      sum += weight;
      for (int slot = 0; slot < kSlots; ++slot) {
        const int d = part + slot * kThreadsPerQuery;
        if (d < dim) output[slot] = fmaf(weight, tiles.keys[i * stride + d], output[slot]);
      }
    }
    __syncthreads();
  }
  const int64_t token = first_token + query;
  if (token >= s.tokens) return;
  T* row = out + (s.begin + token) * out_stride + static_cast<int64_t>(head) * dim;
  for (int slot = 0; slot < kSlots; ++slot) {
    const int d = part + slot * kThreadsPerQuery;
    if (d < dim) row[d] = from_float<T>(output[slot] / sum);
  }
}

}  // namespace

template <typename T>
void attend_plain(const AttentionLaunch& call, const Stream& stream) {
  const dim3 grid(static_cast<unsigned>(divide_up(call.most_tokens, int64_t{kQueries})),
                  static_cast<unsigned>(call.heads), static_cast<unsigned>(call.sequences));
  const auto run = [&](auto kernel) {
    launch(kernel, grid, dim3(kThreads), tile_bytes(call.shape.dim), stream, static_cast<const T*>(call.q),
           call.q_stride, static_cast<T*>(call.out), call.out_stride, *call.batch, call.shape);
  };
  if (call.shape.dim <= 64) return run(attention_kernel<T, 8>);
  if (call.shape.dim <= 128) return run(attention_kernel<T, 16>);
  require(call.shape.dim <= 256, "attention", "a head of more than 256 elements");
  run(attention_kernel<T, 32>);
}
template void attend_plain<float>(const AttentionLaunch&, const Stream&);
template void attend_plain<bf16>(const AttentionLaunch&, const Stream&);

}  // namespace gorgon::cuda
