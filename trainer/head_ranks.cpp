#include "trainer/head_ranks.h"

#include <numeric>

#include "kernels/error.h"
#include "kernels/profile.h"
#include "kernels/transfer.h"

namespace gorgon {
namespace {

int64_t before(const std::vector<int64_t>& counts, int rank) {
  return std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
}

View elements(Tensor& tensor, int64_t begin, int64_t end) {
  View all = tensor.view();
  all.shape = {tensor.elements()};
  return all.rows(begin, end);
}

}  // namespace

GradientExchange::GradientExchange(const HeadRanks& ranks, const MedusaHeads& heads, const Stream& stream)
    : ranks_(ranks), stream_(stream) {
  if (!ranks_.is_several()) return;
  require(ranks_.divided == heads.shard.has_value(), "GradientExchange", "heads of another mode");
  if (ranks_.divided) bias_bounds_ = heads.shard->hidden;
  const int64_t parts = std::ssize(heads.heads) * ranks_.host->size();
  losses_ = Tensor(DType::u8, {parts * static_cast<int64_t>(sizeof(LossSums))}, stream.device());
}

void GradientExchange::sum_counts(std::vector<int64_t>& counts) const {
  if (ranks_.is_several() && !ranks_.divided) {
    all_reduce(*ranks_.host, counts, ReduceOp::sum, "numbers of targets");
  }
}

void GradientExchange::start(const NamedParameter& parameter, View gradient) {
  if (!ranks_.is_several() || !parameter.bounds.empty()) return;
  const std::string what = "gradients of " + parameter.name;
  if (!ranks_.divided || !parameter.is_bias) {
    pending_.push_back(ranks_.device->all_reduce(gradient, ReduceOp::sum, what, stream_));
    return;
  }
  const auto rank = static_cast<size_t>(ranks_.device->rank());
  pending_.push_back(ranks_.device->all_gather_v(gradient.rows(bias_bounds_[rank], bias_bounds_[rank + 1]),
                                                 gradient, counts_of(bias_bounds_, 1), what, stream_));
}

void GradientExchange::finish(LossSums* losses, int heads) {
  if (!ranks_.is_several()) return;
  const ProfileScope scope(stream_, "waiting for other ranks");
  for (Pending& one : pending_) one.wait();
  pending_.clear();
  if (ranks_.divided) return;  // every rank has seen all rows
  const int64_t bytes = heads * static_cast<int64_t>(sizeof(LossSums));
  const ConstView mine(View{reinterpret_cast<std::byte*>(losses), DType::u8, {bytes}, stream_.device(), 0});
  const int n = ranks_.device->size();
  ranks_.device
      ->all_gather_v(mine, losses_.view(), std::vector<int64_t>(static_cast<size_t>(n), bytes), "losses",
                     stream_)
      .wait();
  add_losses(losses_.as<LossSums>(), n, heads, losses, stream_);
}

void GradientExchange::sum_squares(const std::vector<NamedParameter>& parameters, View squares) const {
  if (!ranks_.is_several() || !ranks_.divided) return;
  for (size_t i = 0; i < parameters.size() && ranks_.device->rank() != 0; ++i) {
    const auto at = static_cast<int64_t>(i);
    if (parameters[i].bounds.empty()) zero(squares.rows(at, at + 1), stream_);  // counted by rank 0
  }
  ranks_.device->all_reduce(squares, ReduceOp::sum, "squares of gradients", stream_).wait();
}

void StateExchange::spread(const NamedState& state, const std::byte* bytes) {
  const bool is_first = !ranks_.is_several() || ranks_.device->rank() == 0;
  View whole = state.view;
  if (state.is_divided()) {
    whole_ = Tensor(state.view.type, state.whole, stream_.device());
    whole = whole_.view();
  }
  if (is_first) copy_bytes(whole.device, whole.data, Device{}, bytes, bytes_of(whole.type, whole.elements()));
  if (!ranks_.is_several()) return;
  ranks_.device->broadcast(whole, 0, state.name, stream_).wait();
  if (!state.is_divided()) return;
  stream_.synchronize();
  const int rank = ranks_.device->rank();
  const int64_t begin = before(state.counts, rank), count = state.counts[static_cast<size_t>(rank)];
  const View mine = elements(whole_, begin, begin + count);
  copy_bytes(stream_.device(), state.view.data, stream_.device(), mine.data, bytes_of(mine.type, count));
}

ConstView StateExchange::gather(const NamedState& state) {
  if (!state.is_divided()) return state.view;
  whole_ = Tensor(state.view.type, state.whole, stream_.device());
  View flat = state.view;
  flat.shape = {state.view.elements()};
  ranks_.device->all_gather_v(flat, elements(whole_, 0, whole_.elements()), state.counts, state.name, stream_)
      .wait();
  stream_.synchronize();
  // A collective of a GPU that was aborted, because a rank is lost, leaves anything: none of it is saved.
  if (ranks_.device != ranks_.host) ranks_.host->barrier(state.name);
  return whole_.view();
}

}  // namespace gorgon
