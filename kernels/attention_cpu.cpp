#include "kernels/attention_cpu.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include <hwy/cache_control.h>

#include "kernels/fixed_vectors.h"  // the panels are arrays of vectors
#include "kernels/worker_loop.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using namespace simd::HWY_NAMESPACE;

constexpr int64_t kKeyChunk = 256;  // keys whose values are packed at a time

// Keys [begin, end) may be seen by a row; a tree hides more.
struct KeyRange {
  int64_t begin, end;
};

// One task: scores of all its rows, their softmax, then the weighted values.
template <typename T>
class BlockAttention {
 public:
  BlockAttention(ConstView q, const AttentionShape& shape, View out, const AttentionTask& task,
                 const AttentionBuffers& buffers)
      : q_(q),
        shape_(shape),
        out_(out),
        task_(task),
        sequence_(*task.sequence),
        buffers_(buffers),
        group_(shape.heads / shape.kv_heads),
        rows_(task.tokens * group_),
        past_(task.sequence->keys.rows() - task.sequence->tokens),
        words_((task.sequence->tokens + 63) / 64),
        width_(panel_columns()),
        padded_dim_(round_up(shape.head_dim)),
        padded_keys_(round_up(task.sequence->keys.rows())) {}

  void run() {
    pack_queries();
    score();
    for (int64_t row = 0; row < rows_; ++row) weigh(row);
    std::fill_n(buffers_.sums, rows_, 0.0f);
    std::fill_n(buffers_.output, rows_ * padded_dim_, 0.0f);
    const KeyRange all = seen_by_rows(0, rows_);
    for (int64_t key = all.begin / kKeyChunk * kKeyChunk; key < all.end; key += kKeyChunk) add_values(key);
    for (int64_t row = 0; row < rows_; ++row) write(row);
  }

 private:
  int64_t round_up(int64_t n) const { return (n + width_ - 1) / width_ * width_; }
  int64_t token_of(int64_t row) const { return task_.first + row / group_; }
  int64_t strip_rows(int64_t row) const { return std::min(kStripRows, rows_ - row); }
  const uint64_t* tree_of(int64_t token) const {
    return sequence_.tree.empty() ? nullptr : sequence_.tree.data() + token * words_;
  }

  KeyRange seen_by(int64_t token) const {
    int64_t place = past_ + token;  // in its own line of tokens
    if (const uint64_t* tree = tree_of(token)) {
      int64_t nodes = 0;
      for (int64_t w = 0; w < words_; ++w) nodes += std::popcount(tree[w]);
      place = past_ + nodes - 1;
    }
    const int64_t begin = shape_.window > 0 ? std::max<int64_t>(0, place + 1 - shape_.window) : 0;
    return {begin, tree_of(token) != nullptr ? sequence_.keys.rows() : past_ + token + 1};
  }

  KeyRange seen_by_rows(int64_t row, int64_t rows) const {
    KeyRange all{std::numeric_limits<int64_t>::max(), 0};
    for (int64_t token = token_of(row); token <= token_of(row + rows - 1); ++token) {
      const KeyRange one = seen_by(token);
      all = {std::min(all.begin, one.begin), std::max(all.end, one.end)};
    }
    return all;
  }

  bool strip_sees(int64_t row, int64_t key, int64_t keys) const {
    const KeyRange seen = seen_by_rows(row, strip_rows(row));
    return seen.begin < key + keys && key < seen.end;
  }

  void pack_queries() {
    const int64_t dim = shape_.head_dim;
    for (int64_t row = 0; row < rows_; ++row) {
      const int64_t head = task_.kv_head * group_ + row % group_;
      const T* from = q_.as<T>() + (sequence_.begin + token_of(row)) * q_.stride() + head * dim;
      for (int64_t i = 0; i < dim; ++i) buffers_.queries[row * dim + i] = static_cast<float>(from[i]);
    }
    for (int64_t row = 0; row < rows_; row += kStripRows) {
      pack_transposed(buffers_.queries + row * dim, dim, strip_rows(row), dim, strip_rows(row),
                      buffers_.packed_queries + row * dim);
    }
  }

  // Asks for rows [first, first + panel) of one head: a few bytes from each of many lines, which the chip
  // does not foresee.
  void fetch(const ConstView& rows, int64_t first) const {
    const int64_t dim = shape_.head_dim, end = std::min(first + width_, rows.rows());
    constexpr auto kLine = static_cast<int64_t>(64 / sizeof(T));
    for (int64_t row = first; row < end; ++row) {
      const T* from = rows.as<T>() + row * rows.stride() + task_.kv_head * dim;
      for (int64_t i = 0; i < dim; i += kLine) hwy::Prefetch(from + i);
    }
  }

  // scores[row, key] = q . k for every panel of keys that some row of a strip may see.
  void score() {
    const int64_t dim = shape_.head_dim, stride = sequence_.keys.stride();
    const KeyRange all = seen_by_rows(0, rows_);
    for (int64_t key = all.begin / width_ * width_; key < all.end; key += width_) {
      fetch(sequence_.keys, key + 2 * width_);
      fetch(sequence_.values, key);
      const T* keys = sequence_.keys.as<T>() + key * stride + task_.kv_head * dim;
      pack_transposed(keys, stride, std::min(width_, sequence_.keys.rows() - key), dim, width_,
                      buffers_.panels);
      for (int64_t row = 0; row < rows_; row += kStripRows) {
        if (!strip_sees(row, key, width_)) continue;
        multiply_strip(strip_rows(row), buffers_.packed_queries + row * dim, buffers_.panels, dim,
                       {buffers_.scores + row * padded_keys_ + key, padded_keys_, width_, Sums::start});
      }
    }
  }

  // Scores of one row become exp(score - highest), zero where hidden, over all that its strip looks at.
  void weigh(int64_t row) {
    const Full d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    float* scores = buffers_.scores + row * padded_keys_;
    const KeyRange seen = seen_by(token_of(row));
    hide_outside(row, seen, scores);
    const int64_t begin = seen.begin / lanes * lanes, end = (seen.end + lanes - 1) / lanes * lanes;
    auto highest = hn::Set(d, -std::numeric_limits<float>::infinity());
    for (int64_t key = begin; key < end; key += lanes) {
      highest = hn::Max(highest, hn::LoadU(d, scores + key));
    }
    const float scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
    const auto scales = hn::Set(d, scale);
    const auto top = hn::Mul(hn::MaxOfLanes(d, highest), scales);
    for (int64_t key = begin; key < end; key += lanes) {
      // A hidden key's -inf becomes an exact zero.
      const auto below = hn::Sub(hn::Mul(hn::LoadU(d, scores + key), scales), top);
      hn::StoreU(exp_nonpositive(d, below), d, scores + key);
    }
    const int64_t strip = row / kStripRows * kStripRows;
    const KeyRange looked_at = seen_by_rows(strip, strip_rows(strip));
    std::fill(scores + looked_at.begin / kKeyChunk * kKeyChunk, scores + begin, 0.0f);
    std::fill(scores + end, scores + std::max(end, round_up(looked_at.end)), 0.0f);
  }

  void hide_outside(int64_t row, const KeyRange& seen, float* scores) const {
    constexpr float kHidden = -std::numeric_limits<float>::infinity();
    std::fill(scores + seen.begin / width_ * width_, scores + seen.begin, kHidden);
    std::fill(scores + seen.end, scores + round_up(seen.end), kHidden);
    const uint64_t* tree = tree_of(token_of(row));
    for (int64_t j = 0; tree != nullptr && j < sequence_.tokens; ++j) {
      if ((tree[j / 64] >> (j % 64) & 1) == 0) scores[past_ + j] = kHidden;
    }
  }

  // output += weights x values for one chunk of keys; the chains go on from chunk to chunk.
  void add_values(int64_t key) {
    const int64_t dim = shape_.head_dim, stride = sequence_.values.stride();
    const int64_t keys = std::min(kKeyChunk, sequence_.keys.rows() - key);
    const T* values = sequence_.values.as<T>() + key * stride + task_.kv_head * dim;
    for (int64_t column = 0; column < dim; column += width_) {
      pack_straight(values + column, stride, std::min(width_, dim - column), keys, width_,
                    buffers_.panels + column * kKeyChunk);
    }
    for (int64_t row = 0; row < rows_; row += kStripRows) {
      if (!strip_sees(row, key, keys)) continue;
      const int64_t rows = strip_rows(row);
      const int64_t depth = std::min(keys, seen_by_rows(row, rows).end - key);
      pack_transposed(buffers_.scores + row * padded_keys_ + key, padded_keys_, rows, depth, rows,
                      buffers_.strip);
      add_weights(rows, depth, buffers_.sums + row);
      for (int64_t column = 0; column < dim; column += width_) {
        multiply_strip(rows, buffers_.strip, buffers_.panels + column * kKeyChunk, depth,
                       {buffers_.output + row * padded_dim_ + column, padded_dim_, width_, Sums::go_on});
      }
    }
  }

  void add_weights(int64_t rows, int64_t depth, float* sums) const {
    std::array<float, kStripRows> chains{};
    std::copy_n(sums, rows, chains.begin());
    if (rows == kStripRows) {
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t r = 0; r < kStripRows; ++r) chains[r] += buffers_.strip[k * kStripRows + r];
      }
    } else {
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t r = 0; r < rows; ++r) chains[r] += buffers_.strip[k * rows + r];
      }
    }
    std::copy_n(chains.begin(), rows, sums);
  }

  void write(int64_t row) const {
    const int64_t head = task_.kv_head * group_ + row % group_;
    T* to = out_.as<T>() + (sequence_.begin + token_of(row)) * out_.stride() + head * shape_.head_dim;
    const float* from = buffers_.output + row * padded_dim_;
    for (int64_t i = 0; i < shape_.head_dim; ++i) to[i] = T(from[i] / buffers_.sums[row]);
  }

  ConstView q_;
  const AttentionShape& shape_;
  View out_;
  const AttentionTask& task_;
  const AttentionSequence& sequence_;
  const AttentionBuffers& buffers_;
  int64_t group_, rows_, past_, words_, width_, padded_dim_, padded_keys_;
};

void attend(ConstView q, const AttentionShape& shape, View out, const AttentionTask& task,
            const AttentionBuffers& buffers) {
  if (q.type == DType::f32) {
    BlockAttention<float>(q, shape, out, task, buffers).run();
  } else {
    BlockAttention<bf16>(q, shape, out, task, buffers).run();
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(attend);

namespace {

// Widest panel (two vectors of 512 bits), tallest strip, keys whose values are packed at a time.
constexpr int64_t kPanel = 32, kStrip = 8, kChunk = 256;

int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// Tokens of a task: enough rows to pay for packing the keys, few enough for their scores to stay in a cache.
// Results do not depend on it.
int64_t tokens_per_task(int64_t keys, int64_t group) {
  constexpr int64_t kScores = 128 * 1024;
  return std::clamp<int64_t>(kScores / std::max<int64_t>(1, keys * group), 8, 64);
}

class AttentionWorker {
 public:
  AttentionWorker(ConstView q, const AttentionShape& shape, View out, int64_t rows, int64_t scores)
      : q_(q), shape_(shape), out_(out) {
    const int64_t dim = shape.head_dim, padded_dim = round_up(dim, kPanel);
    const auto sizes = {rows * dim,      rows * dim, scores,           kChunk * padded_dim,
                        kChunk * kStrip, rows,       rows * padded_dim};
    int64_t total = 0;
    for (const int64_t size : sizes) total += round_up(size, 16);
    memory_ = Tensor(DType::f32, {total});
    float* next = memory_.as<float>();
    float** const places[] = {&buffers_.queries, &buffers_.packed_queries, &buffers_.scores, &buffers_.panels,
                              &buffers_.strip,   &buffers_.sums,           &buffers_.output};
    auto place = std::begin(places);
    for (const int64_t size : sizes) {
      **place++ = next;
      next += round_up(size, 16);
    }
  }

  void operator()(const AttentionTask& task) const {
    HWY_DYNAMIC_DISPATCH(attend)(q_, shape_, out_, task, buffers_);
  }

 private:
  ConstView q_;
  const AttentionShape& shape_;
  View out_;
  Tensor memory_;
  AttentionBuffers buffers_{};
};

}  // namespace

void attention(ConstView q, std::span<const AttentionSequence> sequences, const AttentionShape& shape,
               View out, const Stream& stream) {
  const int64_t group = shape.heads / shape.kv_heads;
  std::vector<AttentionTask> tasks;
  int64_t most_rows = 0, most_scores = 0;
  for (const AttentionSequence& s : sequences) {
    const int64_t block = tokens_per_task(s.keys.rows(), group);
    for (int64_t end = s.tokens; end > 0; end -= std::min(block, end)) {  // the longest first
      const int64_t first = std::max<int64_t>(0, end - block);
      for (int64_t head = 0; head < shape.kv_heads; ++head) tasks.push_back({&s, head, first, end - first});
      const int64_t rows = round_up((end - first) * group, kStrip);
      most_rows = std::max(most_rows, rows);
      most_scores = std::max(most_scores, rows * round_up(s.keys.rows() + kChunk, kPanel));
    }
  }
  parallel_workers(stream.threads(), static_cast<int64_t>(tasks.size()), [&] {
    return [worker = AttentionWorker(q, shape, out, most_rows, most_scores), &tasks](int64_t i) {
      worker(tasks[static_cast<size_t>(i)]);
    };
  });
}

}  // namespace gorgon::cpu
#endif
