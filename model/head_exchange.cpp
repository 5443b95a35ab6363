#include "model/head_exchange.h"

#include "kernels/error.h"
#include "kernels/profile.h"
#include "kernels/transfer.h"

namespace gorgon {
namespace {

constexpr const char* kScope = "heads: waiting for other ranks";

// The columns of rank r within blocks of [R, H_r], one behind the other.
View block_of(View blocks, const std::vector<int64_t>& bounds, int r, int64_t rows) {
  const int64_t begin = bounds[static_cast<size_t>(r)], end = bounds[static_cast<size_t>(r) + 1];
  View block = blocks.rows(begin * rows, end * rows);
  block.shape = {rows, end - begin};
  return block;
}

}  // namespace

HeadExchange::HeadExchange(const HeadShard& shard, Communicator& ranks, int64_t rows, DType type,
                           Device device)
    : shard_(shard),
      ranks_(ranks),
      features_(type, {rows * shard.hidden.back()}, device),
      gradients_(DType::f32, {rows * shard.hidden.back()}, device),
      statistics_(DType::f32, {3 * rows * shard.size()}, device) {
  require(shard.size() == ranks.size() && shard.rank == ranks.rank(), "HeadExchange",
          "a shard of other ranks");
}

int64_t HeadExchange::workspace_bytes(const HeadShard& shard, int64_t rows, DType type) {
  const int64_t states = rows * shard.hidden.back();
  return bytes_of(type, states) + bytes_of(DType::f32, states + 3 * rows * shard.size());
}

void HeadExchange::gather_columns(ConstView own, View x, const Stream& stream) {
  const ProfileScope scope(stream, kScope);
  const int64_t rows = x.rows();
  const View blocks = features_.view().rows(0, rows * shard_.hidden.back());
  ranks_.all_gather_v(own, blocks, counts_of(shard_.hidden, rows), "features", stream).wait();
  for (int r = 0; r < shard_.size(); ++r) {
    const auto i = static_cast<size_t>(r);
    copy_rows(block_of(blocks, shard_.hidden, r, rows), x.columns(shard_.hidden[i], shard_.hidden[i + 1]),
              stream);
  }
}

void HeadExchange::sum_columns(ConstView dx, View own, const Stream& stream) {
  const ProfileScope scope(stream, kScope);
  const int64_t rows = dx.rows();
  const View blocks = gradients_.view().rows(0, rows * shard_.hidden.back());
  for (int r = 0; r < shard_.size(); ++r) {
    const auto i = static_cast<size_t>(r);
    copy_rows(dx.columns(shard_.hidden[i], shard_.hidden[i + 1]), block_of(blocks, shard_.hidden, r, rows),
              stream);
  }
  ranks_.reduce_scatter_v(blocks, own, counts_of(shard_.hidden, rows), "gradients of features", stream)
      .wait();
}

void HeadExchange::merge(View statistics, const Stream& stream) {
  const ProfileScope scope(stream, kScope);
  const int64_t rows = statistics.elements() / 3;
  View all = statistics_.view().rows(0, 3 * rows * shard_.size());
  const std::vector<int64_t> counts(static_cast<size_t>(shard_.size()), 3 * rows);
  ranks_.all_gather_v(statistics, all, counts, "statistics of the logits", stream).wait();
  all.shape = {shard_.size(), 3, rows};
  merge_ranges(
      all, {statistics.rows(0, rows), statistics.rows(rows, 2 * rows), statistics.rows(2 * rows, 3 * rows)},
      stream);
}

Pending HeadExchange::sum_hits(View hits, const Stream& stream) {
  return ranks_.all_reduce(hits, ReduceOp::sum, "hits", stream);
}

}  // namespace gorgon
