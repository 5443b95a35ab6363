#include "trainer/head_ranks.h"

#include <numeric>

#include "kernels/error.h"
#include "kernels/profile.h"
#include "kernels/transfer.h"
#include "model/head_shard.h"
#include "optim/adamw.h"

namespace gorgon {
namespace {

constexpr const char* kWaiting = "waiting for other ranks";

int64_t before(const std::vector<int64_t>& counts, int rank) {
  return std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
}

// Of a contiguous view.
View flat(View view) {
  view.shape = {view.elements()};
  view.row_stride = 0;
  return view;
}

View elements(Tensor& tensor, int64_t begin, int64_t end) {
  return flat(tensor.view()).rows(begin, end);
}

}  // namespace

View UpdatedPart::of(View held) const {
  return is_within ? flat(held).rows(begin(), bounds[static_cast<size_t>(rank) + 1]) : flat(held);
}

UpdatedPart updated_part(const NamedParameter& parameter, const HeadRanks& ranks) {
  UpdatedPart part;
  part.elements = parameter.view.elements();
  if (!ranks.is_several()) return part;
  part.rank = ranks.host->rank();
  if (!ranks.divided) {
    part.is_within = true;
    part.bounds = block_parts(part.elements, kStateBlock, ranks.host->size());
  } else if (!parameter.bounds.empty()) {
    const Shape& shape = parameter.view.shape;
    for (const int64_t row : parameter.bounds)
      part.bounds.push_back(shape.rank() == 2 ? row * shape[1] : row);
    part.elements = part.bounds.back();
  }
  return part;
}

GradientExchange::GradientExchange(const HeadRanks& ranks, const MedusaHeads& heads,
                                   const std::vector<NamedParameter>& parameters, const Stream& stream)
    : ranks_(ranks), parameters_(parameters), stream_(stream) {
  for (const NamedParameter& parameter : parameters_) parts_.push_back(updated_part(parameter, ranks));
  if (!ranks_.is_several()) return;
  require(ranks_.divided == heads.shard.has_value(), "GradientExchange", "heads of another mode");
  if (ranks_.divided) bias_bounds_ = heads.shard->hidden;
  const int64_t parts = std::ssize(heads.heads) * ranks_.host->size();
  losses_ = Tensor(DType::u8, {parts * static_cast<int64_t>(sizeof(LossSums))}, stream.device());
}

void GradientExchange::sum_counts(std::vector<int64_t>& counts) const {
  if (is_replicate()) all_reduce(*ranks_.host, counts, ReduceOp::sum, "numbers of targets");
}

void GradientExchange::start(size_t i, View gradient) {
  const NamedParameter& parameter = parameters_[i];
  if (!ranks_.is_several() || !parameter.bounds.empty()) return;
  const std::string what = "gradients of " + parameter.name;
  if (!ranks_.divided) {
    pending_.push_back(ranks_.device->reduce_scatter_v(flat(gradient), parts_[i].of(gradient),
                                                       counts_of(parts_[i].bounds, 1), what, stream_));
    return;
  }
  if (!parameter.is_bias) {
    pending_.push_back(ranks_.device->all_reduce(gradient, ReduceOp::sum, what, stream_));
    return;
  }
  const auto rank = static_cast<size_t>(ranks_.device->rank());
  pending_.push_back(ranks_.device->all_gather_v(gradient.rows(bias_bounds_[rank], bias_bounds_[rank + 1]),
                                                 gradient, counts_of(bias_bounds_, 1), what, stream_));
}

void GradientExchange::finish(LossSums* losses, int heads) {
  if (!ranks_.is_several()) return;
  const ProfileScope scope(stream_, kWaiting);
  const int n = ranks_.device->size();
  if (!ranks_.divided) {  // else every rank has seen all rows
    const int64_t bytes = heads * static_cast<int64_t>(sizeof(LossSums));
    const ConstView mine(View{reinterpret_cast<std::byte*>(losses), DType::u8, {bytes}, stream_.device(), 0});
    pending_.push_back(ranks_.device->all_gather_v(
        mine, losses_.view(), std::vector<int64_t>(static_cast<size_t>(n), bytes), "losses", stream_));
  }
  for (Pending& one : pending_) one.wait();
  pending_.clear();
  if (!ranks_.divided) add_losses(losses_.as<LossSums>(), n, heads, losses, stream_);
}

void GradientExchange::sum_squares(View squares) const {
  if (!ranks_.is_several()) return;
  for (size_t i = 0; i < parts_.size() && ranks_.device->rank() != 0; ++i) {
    const auto at = static_cast<int64_t>(i);
    if (parts_[i].bounds.empty()) zero(squares.rows(at, at + 1), stream_);  // counted by rank 0
  }
  ranks_.device->all_reduce(squares, ReduceOp::sum, "squares of gradients", stream_).wait();
}

void GradientExchange::start_weights() {
  if (weights_at_ != Weights::to_ask_for) return;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const NamedParameter& parameter = parameters_[i];
    weights_.push_back(ranks_.device->all_gather_v(parts_[i].of(parameter.view), flat(parameter.view),
                                                   counts_of(parts_[i].bounds, 1),
                                                   "weights of " + parameter.name, stream_));
  }
  weights_at_ = Weights::asked_for;
}

void GradientExchange::finish_weights() {
  start_weights();
  if (weights_at_ == Weights::here) return;
  const ProfileScope scope(stream_, kWaiting);
  for (Pending& one : weights_) one.wait();
  weights_.clear();
  stream_.synchronize();
  weights_at_ = Weights::here;
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
  ranks_.device
      ->all_gather_v(flat(state.view), elements(whole_, 0, whole_.elements()), state.counts, state.name,
                     stream_)
      .wait();
  stream_.synchronize();
  // A collective of a GPU that was aborted, because a rank is lost, leaves anything: none of it is saved.
  if (ranks_.device != ranks_.host) ranks_.host->barrier(state.name);
  return whole_.view();
}

}  // namespace gorgon
