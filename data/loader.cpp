#include "data/loader.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace gorgon {

namespace {

__extension__ typedef unsigned __int128 Wide;

// A number in [0, count) from 64 random bits: the upper half of their product with count (Lemire, "Fast
// random integer generation in an interval", 2019, without its rejection step: the bias is below count /
// 2^64).
int64_t below(int64_t count, uint64_t key, uint64_t counter, uint64_t epoch) {
  const auto bits = philox(key, counter, epoch);
  const uint64_t r = (static_cast<uint64_t>(bits[1]) << 32) | bits[0];
  return static_cast<int64_t>((static_cast<Wide>(r) * static_cast<Wide>(count)) >> 64);
}

}  // namespace

std::vector<int64_t> shuffled_order(int64_t count, bool shuffle, uint64_t key, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (!shuffle) return order;
  for (size_t i = order.size(); i-- > 1;) {
    std::swap(
        order[i],
        order[static_cast<size_t>(below(static_cast<int64_t>(i) + 1, key, i, static_cast<uint64_t>(epoch)))]);
  }
  return order;
}

Loader::Loader(const Dataset& dataset, int64_t global_batch, bool shuffle, uint64_t key)
    : dataset_(dataset), global_batch_(global_batch), shuffle_(shuffle) {
  require(dataset.sequences() > 0, "Loader", "a data set without sequences");
  require(global_batch > 0, "Loader", "a global batch below 1");
  state_.key = key;
  order_ = shuffled_order(dataset_.sequences(), shuffle_, state_.key, state_.epoch);
}

int64_t Loader::batches_per_epoch() const {
  return (dataset_.sequences() + global_batch_ - 1) / global_batch_;
}

std::vector<int64_t> Loader::next() {
  const auto begin = order_.begin() + state_.cursor;
  const int64_t count = std::min(global_batch_, dataset_.sequences() - state_.cursor);
  std::vector<int64_t> batch(begin, begin + count);
  state_.cursor += count;
  if (state_.cursor == dataset_.sequences()) {
    ++state_.epoch;
    state_.cursor = 0;
    order_ = shuffled_order(dataset_.sequences(), shuffle_, state_.key, state_.epoch);
  }
  return batch;
}

Sequences Loader::gather(const std::vector<int64_t>& which) const {
  return dataset_.gather(which);
}

void Loader::restore(const LoaderState& state) {
  if (state.epoch < 0 || state.cursor < 0 || state.cursor >= dataset_.sequences()) {
    fail(ExitCode::checkpoint,
         {.place = "",
          .key = "loader",
          .expected = "a cursor in [0, " + std::to_string(dataset_.sequences()) + ")",
          .found = std::to_string(state.cursor) + " in epoch " + std::to_string(state.epoch),
          .remedy = "the checkpoint belongs to another data set"});
  }
  state_ = state;
  order_ = shuffled_order(dataset_.sequences(), shuffle_, state_.key, state_.epoch);
}

}  // namespace gorgon
