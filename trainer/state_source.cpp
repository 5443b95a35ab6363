#include "trainer/state_source.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "kernels/communicator.h"
#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/transfer.h"
#include "kernels/workspace.h"

namespace gorgon {

namespace {

// Flat tokens [begin, end) of the sequences [first, last).
struct MicroBatch {
  int64_t first, last;
  int64_t begin, end;
};

BackboneContext context_of(const Sequences& sequences, const MicroBatch& batch) {
  BackboneContext context;
  context.offsets.push_back(0);
  for (int64_t s = batch.first; s < batch.last; ++s) {
    const int64_t begin = sequences.offsets[static_cast<size_t>(s)];
    const int64_t end = sequences.offsets[static_cast<size_t>(s) + 1];
    const auto known = static_cast<int64_t>(context.positions.size());
    context.positions.resize(static_cast<size_t>(known + end - begin));
    std::iota(context.positions.begin() + known, context.positions.end(), 0);
    context.offsets.push_back(end - batch.begin);
  }
  return context;
}

}  // namespace

RowTable supervised_rows(const Sequences& sequences, int num_heads) {
  RowTable table;
  for (int64_t s = 0; s < sequences.count(); ++s) {
    const int64_t begin = sequences.offsets[static_cast<size_t>(s)];
    const int64_t end = sequences.offsets[static_cast<size_t>(s) + 1];
    int64_t last_supervised = begin - 1;  // among the targets looked at so far
    for (int64_t t = begin; t + 2 < end; ++t) {
      // Targets of t are tokens t + 2 .. t + 1 + K; only the last of them is new.
      const int64_t first_new = t == begin ? t + 2 : t + 1 + num_heads;
      for (int64_t target = first_new; target <= std::min(t + 1 + num_heads, end - 1); ++target) {
        if (sequences.labels[static_cast<size_t>(target)] != kIgnoreIndex) last_supervised = target;
      }
      if (last_supervised < t + 2) continue;
      table.row.push_back(static_cast<int32_t>(t));
      table.id.push_back(sequences.first_id[static_cast<size_t>(s)] + t - begin);
      for (int64_t target = t + 2; target < t + 2 + num_heads; ++target) {
        table.targets.push_back(target < end ? sequences.labels[static_cast<size_t>(target)] : kIgnoreIndex);
      }
    }
  }
  return table;
}

void forward_state_rows(const Backbone& backbone, const Sequences& sequences, int num_heads,
                        int64_t micro_batch, StateRows& result, const Stream& stream) {
  require(micro_batch > 0 && num_heads > 0, "forward_state_rows", "micro_batch or num_heads");
  const RowTable table = supervised_rows(sequences, num_heads);
  const auto rows = static_cast<int64_t>(table.row.size());
  const int64_t hidden = backbone.config().hidden_size;
  if (result.hidden.empty()) result.hidden = Tensor(backbone.compute(), {0, hidden}, stream.device());
  // Every row reads a state of its own: state i is that of row i.
  result.hidden.resize({rows, hidden});
  auto next = table.row.begin();
  for (int64_t first = 0; first < sequences.count(); first += micro_batch) {
    const int64_t last = std::min(first + micro_batch, sequences.count());
    const MicroBatch batch{first, last, sequences.offsets[static_cast<size_t>(first)],
                           sequences.offsets[static_cast<size_t>(last)]};
    std::vector<int32_t> wanted;
    const auto done = next - table.row.begin();
    for (; next != table.row.end() && *next < batch.end; ++next) {
      wanted.push_back(*next - static_cast<int32_t>(batch.begin));
    }
    if (wanted.empty()) continue;
    const auto count = static_cast<int64_t>(wanted.size()), length = batch.end - batch.begin;
    const std::span tokens(sequences.tokens.data() + batch.begin, static_cast<size_t>(length));
    Workspace workspace(stream);
    const View states = workspace.take("states", backbone.compute(), {length, hidden});
    const View index = workspace.take("rows of states", DType::i32, {count});
    backbone.forward(tokens, context_of(sequences, batch), states, stream);
    upload(wanted, index, stream);
    gather_rows(states, index, result.hidden.view().rows(done, done + count), stream);
  }
  std::vector<int32_t> own(static_cast<size_t>(rows));
  std::iota(own.begin(), own.end(), 0);
  result.row = Tensor::of(own, {rows});
  result.targets = Tensor::of(table.targets, {rows, num_heads});
  result.id = Tensor::of(table.id, {rows});
}

StateRows forward_state_rows(const Backbone& backbone, const Sequences& sequences, int num_heads,
                             int64_t micro_batch, const Stream& stream) {
  StateRows rows;
  forward_state_rows(backbone, sequences, num_heads, micro_batch, rows, stream);
  return rows;
}

Loader loader_of(const Dataset& dataset, const SourceOptions& options) {
  return {dataset, options.global_batch, options.shuffle, options.key};
}

namespace {

class OnlineSource : public StateSource {
 public:
  OnlineSource(const Backbone& backbone, const Dataset& dataset, const SourceOptions& options)
      : backbone_(backbone), dataset_(dataset), options_(options), loader_(loader_of(dataset, options)) {}

  int64_t steps_per_epoch() const override { return loader_.batches_per_epoch(); }
  int64_t next(StateRows& rows, const Stream& stream) override {
    const Sequences sequences = dataset_.gather(own_part(loader_.next()));
    forward_state_rows(backbone_, sequences, options_.num_heads, options_.micro_batch, rows, stream);
    return std::ssize(sequences.tokens);
  }
  const LoaderState& state() const override { return loader_.state(); }
  void restore(const LoaderState& state) override { loader_.restore(state); }

 private:
  std::vector<int64_t> own_part(const std::vector<int64_t>& batch) const {
    const std::vector<int64_t> bounds = equal_parts(std::ssize(batch), options_.ranks);
    const auto rank = static_cast<size_t>(options_.rank);
    return {batch.begin() + bounds[rank], batch.begin() + bounds[rank + 1]};
  }

  const Backbone& backbone_;
  const Dataset& dataset_;
  SourceOptions options_;
  Loader loader_;
};

}  // namespace

std::unique_ptr<StateSource> online_source(const Backbone& backbone, const Dataset& dataset,
                                           const SourceOptions& options) {
  return std::make_unique<OnlineSource>(backbone, dataset, options);
}

}  // namespace gorgon
