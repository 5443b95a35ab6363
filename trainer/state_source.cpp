#include "trainer/state_source.h"

#include <algorithm>
#include <numeric>
#include <span>

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

namespace {

// to [wanted, H] = the states of the tokens `wanted`, which lie in the micro-batch.
void forward_micro_batch(const Backbone& backbone, const Sequences& sequences, const MicroBatch& batch,
                         std::span<const int32_t> wanted, View to, const Stream& stream,
                         RepeatedWork* repeated = nullptr) {
  if (wanted.empty()) return;
  std::vector<int32_t> local;
  for (const int32_t token : wanted) local.push_back(token - static_cast<int32_t>(batch.begin));
  const int64_t length = batch.end - batch.begin;
  const std::span tokens(sequences.tokens.data() + batch.begin, static_cast<size_t>(length));
  Workspace workspace(stream);
  const View states = workspace.take("states", backbone.compute(), {length, backbone.config().hidden_size});
  const View index = workspace.take("rows of states", DType::i32, {std::ssize(local)});
  BackboneContext context = context_of(sequences, batch);
  context.repeated = repeated;
  backbone.forward(tokens, context, states, stream);
  upload(local, index, stream);
  gather_rows(states, index, to, stream);
}

MicroBatch batch_of(const Sequences& sequences, int64_t first, int64_t last) {
  return {first, last, sequences.offsets[static_cast<size_t>(first)],
          sequences.offsets[static_cast<size_t>(last)]};
}

// Entries [begin, end) of a table whose tokens lie in a micro-batch; entries ascend.
std::span<const int32_t> tokens_in(const RowTable& table, const MicroBatch& batch) {
  const auto begin = std::lower_bound(table.row.begin(), table.row.end(), static_cast<int32_t>(batch.begin));
  const auto end = std::lower_bound(begin, table.row.end(), static_cast<int32_t>(batch.end));
  return {begin, end};
}

// The first memory is for as many rows as there are tokens, so that labels do not make it grow.
void prepare_states(const Backbone& backbone, const Sequences& sequences, int64_t rows, StateRows& result,
                    const Stream& stream) {
  constexpr Purpose kStates{"the states of a step's rows",
                            "lower global_batch_size, gradient_accumulation_steps or "
                            "per_device_eval_batch_size, or max_seq_length"};
  const int64_t hidden = backbone.config().hidden_size;
  if (result.hidden.empty()) {
    result.hidden = Tensor(backbone.compute(), {sequences.offsets.back(), hidden}, stream.device(), kStates);
  }
  result.hidden.resize({rows, hidden});
}

void set_table(const RowTable& table, const std::vector<int32_t>& state_of_row, int num_heads,
               StateRows& result) {
  const auto rows = std::ssize(table.row);
  result.row = Tensor::of(state_of_row, {rows});
  result.targets = Tensor::of(table.targets, {rows, num_heads});
  result.id = Tensor::of(table.id, {rows});
}

}  // namespace

void forward_state_rows(const Backbone& backbone, const Sequences& sequences, int num_heads,
                        int64_t micro_batch, StateRows& result, const Stream& stream,
                        RepeatedWork* repeated) {
  require(micro_batch > 0 && num_heads > 0, "forward_state_rows", "micro_batch or num_heads");
  const RowTable table = supervised_rows(sequences, num_heads);
  const auto rows = std::ssize(table.row);
  // Every row reads a state of its own: state i is that of row i.
  prepare_states(backbone, sequences, rows, result, stream);
  int64_t done = 0;
  for (int64_t first = 0; first < sequences.count(); first += micro_batch) {
    const MicroBatch batch = batch_of(sequences, first, std::min(first + micro_batch, sequences.count()));
    const std::span wanted = tokens_in(table, batch);
    forward_micro_batch(backbone, sequences, batch, wanted,
                        result.hidden.view().rows(done, done + std::ssize(wanted)), stream, repeated);
    done += std::ssize(wanted);
  }
  std::vector<int32_t> own(static_cast<size_t>(rows));
  std::iota(own.begin(), own.end(), 0);
  set_table(table, own, num_heads, result);
}

void gather_state_rows(const Backbone& backbone, const Sequences& sequences, int num_heads,
                       int64_t micro_batch, Communicator& ranks, StateRows& result, const Stream& stream) {
  require(micro_batch > 0 && num_heads > 0, "gather_state_rows", "micro_batch or num_heads");
  const RowTable table = supervised_rows(sequences, num_heads);
  prepare_states(backbone, sequences, std::ssize(table.row), result, stream);
  const int64_t hidden = backbone.config().hidden_size;
  const std::vector<int64_t> parts = equal_parts(sequences.count(), ranks.size());
  std::vector<int32_t> state_of_row(table.row.size());
  std::vector<Pending> pending;
  int64_t done = 0;
  for (int64_t at = 0; done < std::ssize(table.row); at += micro_batch) {
    const int64_t begin = done;
    std::vector<int64_t> counts;
    View own;
    for (int r = 0; r < ranks.size(); ++r) {
      const int64_t end = parts[static_cast<size_t>(r) + 1],
                    first = std::min(end, parts[static_cast<size_t>(r)] + at);
      const MicroBatch batch = batch_of(sequences, first, std::min(first + micro_batch, end));
      const std::span wanted = tokens_in(table, batch);
      const View place = result.hidden.view().rows(done, done + std::ssize(wanted));
      if (r == ranks.rank()) forward_micro_batch(backbone, sequences, batch, wanted, own = place, stream);
      std::iota(state_of_row.begin() + (wanted.data() - table.row.data()),
                state_of_row.begin() + (wanted.data() - table.row.data()) + std::ssize(wanted),
                static_cast<int32_t>(done));
      done += std::ssize(wanted);
      counts.push_back(std::ssize(wanted) * hidden);
    }
    pending.push_back(
        ranks.all_gather_v(own, result.hidden.view().rows(begin, done), counts, "states", stream));
  }
  for (Pending& one : pending) one.wait();
  set_table(table, state_of_row, num_heads, result);
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
    const std::vector<int64_t> batch = loader_.next();
    if (options_.gather == nullptr) {
      const Sequences sequences = dataset_.gather(own_part(batch));
      forward_state_rows(backbone_, sequences, options_.num_heads, options_.micro_batch, rows, stream,
                         &repeated_);
      return std::ssize(sequences.tokens);
    }
    const Sequences sequences = dataset_.gather(batch);
    gather_state_rows(backbone_, sequences, options_.num_heads, options_.micro_batch, *options_.gather, rows,
                      stream);
    const std::vector<int64_t> parts = equal_parts(sequences.count(), options_.ranks);
    const auto rank = static_cast<size_t>(options_.rank);
    return sequences.offsets[static_cast<size_t>(parts[rank + 1])] -
           sequences.offsets[static_cast<size_t>(parts[rank])];
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
  RepeatedWork repeated_;
};

}  // namespace

std::unique_ptr<StateSource> online_source(const Backbone& backbone, const Dataset& dataset,
                                           const SourceOptions& options) {
  return std::make_unique<OnlineSource>(backbone, dataset, options);
}

}  // namespace gorgon
