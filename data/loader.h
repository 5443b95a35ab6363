#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset_file.h"

namespace gorgon {

// 0 .. count - 1 in an order that is a function of (key, epoch) alone: a Fisher-Yates permutation driven by
// Philox (counter: index, epoch); in order without shuffle.
std::vector<int64_t> shuffled_order(int64_t count, bool shuffle, uint64_t key, int64_t epoch);

// Where a loader stands: enough to go on with the same sequences in the same order. Handing out the last
// batch of an epoch begins the next one: cursor is always below the number of sequences.
struct LoaderState {
  int64_t epoch = 0;   // complete epochs
  int64_t cursor = 0;  // sequences of this epoch already handed out, over all ranks
  uint64_t key = 0;    // of the shuffle
};

// Hands out sequences in shuffled_order, or file order when shuffle is off. An epoch has ceil(sequences /
// global_batch) batches, the last one short; next() goes on into the next epoch.
class Loader {
 public:
  Loader(const Dataset& dataset, int64_t global_batch, bool shuffle,
         uint64_t key);  // dataset must outlive it

  int64_t batches_per_epoch() const;
  std::vector<int64_t> next();  // sequence numbers of the next global batch
  Sequences gather(const std::vector<int64_t>& which) const;
  const LoaderState& state() const { return state_; }
  // Goes on from there; Error(checkpoint) where the cursor lies outside this data set.
  void restore(const LoaderState& state);

 private:
  const Dataset& dataset_;
  int64_t global_batch_;
  bool shuffle_;
  LoaderState state_;
  std::vector<int64_t> order_;
};

}  // namespace gorgon
