// Attention on tensor cores, bf16: once through the keys with a running maximum (Dao, "FlashAttention-2",
// 2023, algorithm 1), so that scores never leave the registers. Weights are rounded to bf16 for their product
// with the values; sums stay in f32.
#include "gorgon_tensor_core.h"
#include "kernels/cuda/attention_sight.h"
#include "kernels/error.h"

namespace gorgon::cuda {

namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarpSize, kQueries = 16 * kWarps;

// Sizes for head size D. Rows of a tile are 16 bytes longer than they need to be: the eight rows that
// ldmatrix reads at a time then lie in different banks.
template <int D>
struct Tile {
  static constexpr int kKeys = D <= 128 ? 64 : 32;
  static constexpr int kStride = D + 8;
  static constexpr int kElements = kKeys * kStride;
  // Queries, two tiles of keys, two of values.
  static constexpr size_t kBytes = sizeof(bf16) * (kQueries * kStride + 4 * kElements);
};

// Rows [first, first + kRows) of a head, zeros from row `end` on.
template <int D, int kRows>
__device__ __forceinline__ void fetch_rows(const bf16* from, int64_t stride, int64_t first, int64_t end,
                                           bf16* to) {
  constexpr int kPieces = D / 8;  // of 16 bytes
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPieces; i += kThreads) {
    const int row = i / kPieces, piece = i % kPieces;
    const bool exists = first + row < end;
    const bf16* source = from + (exists ? (first + row) * stride : 0) + piece * 8;
    copy_async(to + row * Tile<D>::kStride + piece * 8, source, exists);
  }
}

__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
  return static_cast<uint32_t>(from_float<bf16>(low).bits) |
         static_cast<uint32_t>(from_float<bf16>(high).bits) << 16;
}

// Address of the row that this lane names to load_matrices for a 16 x 16 piece of a tile.
// Queries (and values, transposed): the matrices lie (0, 0), (8, 0), (0, 8), (8, 8).
template <int D>
__device__ __forceinline__ const bf16* piece_down(const bf16* tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  return tile + (row + lane % 16) * Tile<D>::kStride + column + lane / 16 * 8;
}
// Keys: (0, 0), (0, 8), (8, 0), (8, 8).
template <int D>
__device__ __forceinline__ const bf16* piece_across(const bf16* tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  return tile + (row + lane / 16 * 8 + lane % 8) * Tile<D>::kStride + column + lane / 8 % 2 * 8;
}

// What a warp keeps of its 16 queries: a lane has the rows lane / 4 and lane / 4 + 8.
template <int D>
struct Rows {
  float output[D / 8][4];
  float top[2], sum[2];  // of scores in units of log2; the lane's own share of the sum
};

// scores [16 queries, kKeys] of a warp.
template <int D>
__device__ __forceinline__ void multiply_keys(const bf16* queries, const bf16* keys,
                                              float (&scores)[Tile<D>::kKeys / 8][4]) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
#pragma unroll
  for (auto& block : scores) block[0] = block[1] = block[2] = block[3] = 0.0f;
#pragma unroll
  for (int d = 0; d < D; d += 16) {
    uint32_t q[4];
    load_matrices<false>(q, piece_down<D>(queries, warp * 16, d));
#pragma unroll
    for (int key = 0; key < Tile<D>::kKeys; key += 16) {
      uint32_t k[4];
      load_matrices<false>(k, piece_across<D>(keys, key, d));
      multiply_16x8x16(scores[key / 8], q, k[0], k[1]);
      multiply_16x8x16(scores[key / 8 + 1], q, k[2], k[3]);
    }
  }
}

// Hides scores, scales them, turns them into weights; rescales what was summed up under a lower maximum.
template <int D>
__device__ __forceinline__ void weigh(float (&scores)[Tile<D>::kKeys / 8][4], float scale, Rows<D>& rows) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = rows.top[half];
#pragma unroll
    for (auto& block : scores) {
      block[2 * half] *= scale;
      block[2 * half + 1] *= scale;
      top = fmaxf(top, fmaxf(block[2 * half], block[2 * half + 1]));
    }
    top = fmaxf(top, __shfl_xor_sync(kFullMask, top, 1));
    top = fmaxf(top, __shfl_xor_sync(kFullMask, top, 2));
    const float base = top > __uint_as_float(0xff800000u) ? top : 0.0f;  // nothing seen yet
    const float old = exp2f(rows.top[half] - base);
    rows.top[half] = top;
    rows.sum[half] *= old;
#pragma unroll
    for (auto& block : rows.output) {
      block[2 * half] *= old;
      block[2 * half + 1] *= old;
    }
#pragma unroll
    for (auto& block : scores) {
      block[2 * half] = exp2f(block[2 * half] - base);
      block[2 * half + 1] = exp2f(block[2 * half + 1] - base);
      rows.sum[half] += block[2 * half] + block[2 * half + 1];
    }
  }
}

template <int D>
__device__ __forceinline__ void multiply_values(const float (&weights)[Tile<D>::kKeys / 8][4],
                                                const bf16* values, Rows<D>& rows) {
#pragma unroll
  for (int key = 0; key < Tile<D>::kKeys; key += 16) {
    const auto& left = weights[key / 8];
    const auto& right = weights[key / 8 + 1];
    const uint32_t p[4] = {pack_pair(left[0], left[1]), pack_pair(left[2], left[3]),
                           pack_pair(right[0], right[1]), pack_pair(right[2], right[3])};
#pragma unroll
    for (int d = 0; d < D; d += 16) {
      uint32_t v[4];
      load_matrices<true>(v, piece_down<D>(values, key, d));
      multiply_16x8x16(rows.output[d / 8], p, v[0], v[1]);
      multiply_16x8x16(rows.output[d / 8 + 1], p, v[2], v[3]);
    }
  }
}

// Keys that some query of the block may see, and those that all of them see whatever the tree.
struct BlockSight {
  int64_t begin, end, common_begin, common_end;
};
__device__ BlockSight sight_of_block(const AttentionBatch& batch, const SequenceOnDevice& s, int64_t first,
                                     int64_t window) {
  const int64_t last = first + kQueries <= s.tokens ? first + kQueries - 1 : s.tokens - 1;
  if (s.tree_at < 0 && s.tree == nullptr) {
    const Sight low = sight_of(batch, s, first, window), high = sight_of(batch, s, last, window);
    return {low.begin, high.end, high.begin, low.end};
  }
  // Of a tree's nodes any may see any; of the earlier tokens the window hides no more than for the deepest
  // place.
  const int64_t deepest = static_cast<int64_t>(s.past) + s.tokens;
  return {window > s.past + 1 || window == 0 ? 0 : s.past + 1 - window, deepest,
          window == 0 || deepest <= window ? 0 : deepest - window, s.past};
}

// Scores of the tile of keys that begins at `key`: -inf where a token does not see.
template <int N>
__device__ void hide_unseen(float (&scores)[N][4], const SequenceOnDevice& s, const Sight (&sight)[2],
                            int64_t key, int64_t window) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll
  for (int block = 0; block < N; ++block) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int64_t at = key + block * 8 + lane % 4 * 2 + r % 2;
      if (!sees(sight[r / 2], s, at, window)) scores[block][r] = __uint_as_float(0xff800000u);
    }
  }
}

// out: the first column of this head in the sequence's row 0. Divides by the sums of the weights.
template <int D>
__device__ void store_rows(const Rows<D>& rows, const SequenceOnDevice& s, int64_t warp_token, bf16* out,
                           int64_t out_stride) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = rows.sum[half];
    sum += __shfl_xor_sync(kFullMask, sum, 1);
    sum += __shfl_xor_sync(kFullMask, sum, 2);
    const int64_t token = warp_token + lane / 4 + half * 8;
    if (token >= s.tokens) continue;
    const float inverse = 1.0f / sum;
    bf16* row = out + token * out_stride + lane % 4 * 2;
#pragma unroll
    for (int block = 0; block < D / 8; ++block) {
      const uint32_t pair =
          pack_pair(rows.output[block][2 * half] * inverse, rows.output[block][2 * half + 1] * inverse);
      *reinterpret_cast<uint32_t*>(row + block * 8) = pair;
    }
  }
}

// A block: 64 tokens of one head, 16 a warp.
template <int D>
__global__ void __launch_bounds__(kThreads, D == 96 ? 2 : 0)
    attention_tensor_kernel(const bf16* q, int64_t q_stride, bf16* out, int64_t out_stride,
                            GORGON_GRID_CONSTANT const AttentionBatch batch, AttentionHeads heads) {
  const SequenceOnDevice& s = batch.sequence[blockIdx.z];
  // The last tokens of a sequence see most keys: they begin first.
  const int64_t first_token = static_cast<int64_t>(gridDim.x - 1 - blockIdx.x) * kQueries;
  if (first_token >= s.tokens) return;
  GORGON_DYNAMIC_SHARED(bf16, shared);
  constexpr int kKeys = Tile<D>::kKeys;
  bf16* queries = shared;
  bf16* key_tiles = shared + kQueries * Tile<D>::kStride;
  bf16* value_tiles = key_tiles + 2 * Tile<D>::kElements;
  const auto head = static_cast<int64_t>(blockIdx.y), key_head = head / heads.group;
  const bf16* keys = static_cast<const bf16*>(s.keys) + key_head * D;
  const bf16* values = static_cast<const bf16*>(s.values) + key_head * D;
  const int64_t known = static_cast<int64_t>(s.past) + s.tokens;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int64_t warp_token = first_token + static_cast<int64_t>(threadIdx.x) / kWarpSize * 16;
  const BlockSight seen = sight_of_block(batch, s, first_token, heads.window);
  Sight sight[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t token = warp_token + lane / 4 + half * 8;
    sight[half] = sight_of(batch, s, token < s.tokens ? token : s.tokens - 1, heads.window);
  }
  const auto fetch = [&](int64_t key, int buffer) {
    fetch_rows<D, kKeys>(keys, s.key_stride, key, known, key_tiles + buffer * Tile<D>::kElements);
    fetch_rows<D, kKeys>(values, s.value_stride, key, known, value_tiles + buffer * Tile<D>::kElements);
  };

  Rows<D> rows;
#pragma unroll
  for (auto& block : rows.output) block[0] = block[1] = block[2] = block[3] = 0.0f;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    rows.top[half] = __uint_as_float(0xff800000u);
    rows.sum[half] = 0.0f;
  }
  const int64_t first_key = seen.begin / kKeys * kKeys;
  fetch_rows<D, kQueries>(q + s.begin * q_stride + head * D, q_stride, first_token, int64_t{s.tokens},
                          queries);
  fetch(first_key, 0);
  copy_async_commit();
  int buffer = 0;
  for (int64_t key = first_key; key < seen.end; key += kKeys, buffer ^= 1) {
    if (key + kKeys < seen.end) fetch(key + kKeys, buffer ^ 1);
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();
    float scores[kKeys / 8][4];
    multiply_keys<D>(queries, key_tiles + buffer * Tile<D>::kElements, scores);
    if (key < seen.common_begin || key + kKeys > seen.common_end) {
      hide_unseen(scores, s, sight, key, heads.window);
    }
    weigh<D>(scores, heads.scale * 1.4426950408889634f, rows);
    multiply_values<D>(scores, value_tiles + buffer * Tile<D>::kElements, rows);
    __syncthreads();  // before the next turn fetches into this buffer
  }
  store_rows<D>(rows, s, warp_token, out + s.begin * out_stride + head * D, out_stride);
}

template <int D>
void run(const AttentionLaunch& call, const Stream& stream) {
  const dim3 grid(static_cast<unsigned>(divide_up(call.most_tokens, int64_t{kQueries})),
                  static_cast<unsigned>(call.heads), static_cast<unsigned>(call.sequences));
  launch(attention_tensor_kernel<D>, grid, dim3(kThreads), Tile<D>::kBytes, stream,
         static_cast<const bf16*>(call.q), call.q_stride, static_cast<bf16*>(call.out), call.out_stride,
         *call.batch, call.shape);
}

bool in_16_bytes(const void* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 8 == 0;
}

}  // namespace

bool attend_tensor(const AttentionLaunch& call, const Stream& stream) {
  bool aligned = in_16_bytes(call.q, call.q_stride) && in_16_bytes(call.out, call.out_stride);
  for (int i = 0; i < call.sequences; ++i) {
    const SequenceOnDevice& s = call.batch->sequence[i];
    aligned = aligned && in_16_bytes(s.keys, s.key_stride) && in_16_bytes(s.values, s.value_stride);
  }
  if (!aligned) return false;
  switch (call.shape.dim) {
    case 64:
      run<64>(call, stream);
      return true;
    case 96:
      run<96>(call, stream);
      return true;
    case 128:
      run<128>(call, stream);
      return true;
    case 256:
      run<256>(call, stream);
      return true;
    default:
      return false;
  }
}

}  // namespace gorgon::cuda
