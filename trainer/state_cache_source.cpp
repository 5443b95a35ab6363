#include "trainer/state_cache_source.h"

#include <algorithm>
#include <numeric>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/profile.h"

namespace gorgon {

namespace {

// Rows of ids with the cache's states; row i reads state i.
void read_rows(const CacheReader& cache, const std::vector<int64_t>& ids, const std::vector<int32_t>& targets,
               int num_heads, DType type, StateRows& result, const Stream& stream) {
  const ProfileScope scope(stream, "states from the cache");
  const auto rows = std::ssize(ids);
  if (rows == 0) {
    result = {};
    return;
  }
  const CacheLayout& layout = cache.layout();
  Tensor states(layout.type, {rows, layout.width});
  for (int64_t begin = 0, end = 0; begin < rows; begin = end) {  // runs of neighbours
    const auto& known = cache.ids();
    const auto found = std::lower_bound(known.begin(), known.end(), ids[static_cast<size_t>(begin)]);
    const int64_t first = found - known.begin();
    const auto is_next = [&](int64_t i) {
      const auto at = static_cast<size_t>(first + i - begin);
      return at < known.size() && known[at] == ids[static_cast<size_t>(i)];
    };
    for (end = begin; end < rows && is_next(end); ++end) {
    }
    require(end > begin, "cached states", "a row that the cache does not hold");
    cache.read(first, end - begin, states.data() + begin * layout.row_bytes());
  }
  if (layout.type != type) {
    Tensor converted(type, states.shape());
    convert(states.view(), converted.view(), Stream({}, 1));
    states = std::move(converted);
  }
  const Device device = stream.device();
  std::vector<int32_t> own(ids.size());
  std::iota(own.begin(), own.end(), 0);
  result.hidden = device.kind == DeviceKind::cpu ? std::move(states) : states.to(device);
  result.row = Tensor::of(own, {rows});
  result.targets = Tensor::of(targets, {rows, num_heads});
  result.id = Tensor::of(ids, {rows});
}

class CachedSource : public StateSource {
 public:
  CachedSource(const CacheReader& cache, const Dataset& dataset, const SourceOptions& options, DType type)
      : cache_(cache),
        dataset_(dataset),
        options_(options),
        type_(type),
        loader_(loader_of(dataset, options)) {}

  int64_t steps_per_epoch() const override { return loader_.batches_per_epoch(); }
  int64_t next(StateRows& rows, const Stream& stream) override {
    const Sequences sequences = dataset_.gather(loader_.next());
    const RowTable table = supervised_rows(sequences, options_.num_heads);
    read_rows(cache_, table.id, table.targets, options_.num_heads, type_, rows, stream);
    return std::ssize(sequences.tokens);
  }
  const LoaderState& state() const override { return loader_.state(); }
  void restore(const LoaderState& state) override { loader_.restore(state); }

 private:
  const CacheReader& cache_;
  const Dataset& dataset_;
  SourceOptions options_;
  DType type_;
  Loader loader_;
};

// LoaderState::cursor counts steps of the epoch.
class RowOrderSource : public StateSource {
 public:
  RowOrderSource(const CacheReader& cache, const Dataset& dataset, const SourceOptions& options, DType type)
      : cache_(cache),
        options_(options),
        type_(type),
        tokens_(std::ssize(dataset.tokens)),
        steps_(loader_of(dataset, options).batches_per_epoch()) {
    for (int64_t s = 0; s < dataset.sequences(); ++s) {
      const RowTable part = supervised_rows(dataset.gather({s}), options.num_heads);
      table_.id.insert(table_.id.end(), part.id.begin(), part.id.end());
      table_.targets.insert(table_.targets.end(), part.targets.begin(), part.targets.end());
    }
    state_.key = options.key;
    order_ = shuffled_order(count(), options_.shuffle, state_.key, state_.epoch);
  }

  int64_t steps_per_epoch() const override { return steps_; }
  int64_t next(StateRows& rows, const Stream& stream) override {
    const int64_t step = state_.cursor, heads = options_.num_heads;
    std::vector<int64_t> ids;
    std::vector<int32_t> targets;
    for (int64_t i = share(count(), step); i < share(count(), step + 1); ++i) {
      const int64_t row = order_[static_cast<size_t>(i)];
      const auto first = table_.targets.begin() + row * heads;
      ids.push_back(table_.id[static_cast<size_t>(row)]);
      targets.insert(targets.end(), first, first + heads);
    }
    const int64_t tokens = share(tokens_, step + 1) - share(tokens_, step);
    if (++state_.cursor == steps_) {
      state_.cursor = 0;
      ++state_.epoch;
      order_ = shuffled_order(count(), options_.shuffle, state_.key, state_.epoch);
    }
    read_rows(cache_, ids, targets, options_.num_heads, type_, rows, stream);
    return tokens;
  }
  const LoaderState& state() const override { return state_; }
  void restore(const LoaderState& state) override {
    if (state.epoch < 0 || state.cursor < 0 || state.cursor >= steps_) {
      fail(ExitCode::checkpoint, {"", "loader", "a step in [0, " + std::to_string(steps_) + ")",
                                  std::to_string(state.cursor) + " in epoch " + std::to_string(state.epoch),
                                  "the checkpoint belongs to another data set"});
    }
    state_ = state;
    order_ = shuffled_order(count(), options_.shuffle, state_.key, state_.epoch);
  }

 private:
  int64_t count() const { return std::ssize(table_.id); }
  // Where piece `step` of `whole` begins.
  int64_t share(int64_t whole, int64_t step) const {
    return whole / steps_ * step + whole % steps_ * step / steps_;
  }

  const CacheReader& cache_;
  SourceOptions options_;
  DType type_;
  int64_t tokens_, steps_;
  RowTable table_;  // of all sequences; `row` is not filled
  LoaderState state_;
  std::vector<int64_t> order_;
};

}  // namespace

std::unique_ptr<StateSource> cached_source(const CacheReader& cache, const Dataset& dataset,
                                           const SourceOptions& options, DType type) {
  return std::make_unique<CachedSource>(cache, dataset, options, type);
}

std::unique_ptr<StateSource> row_order_source(const CacheReader& cache, const Dataset& dataset,
                                              const SourceOptions& options, DType type) {
  return std::make_unique<RowOrderSource>(cache, dataset, options, type);
}

}  // namespace gorgon
