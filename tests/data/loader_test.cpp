#include "data/loader.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/data/dataset_examples.h"

namespace gorgon {
namespace {

using Numbers = std::vector<int64_t>;

Dataset dataset_of(int64_t sequences) {
  return example_dataset(std::vector<int64_t>(static_cast<size_t>(sequences), 3), Packing::none, 4);
}

Numbers epoch_of(Loader& loader) {
  Numbers order;
  for (int64_t b = loader.batches_per_epoch(); b > 0; --b) {
    for (const int64_t s : loader.next()) order.push_back(s);
  }
  return order;
}

TEST(Loader, EveryEpochIsAPermutationOfItsOwn) {
  const Dataset dataset = dataset_of(101);
  Loader loader(dataset, 8, true, 7);
  EXPECT_EQ(loader.batches_per_epoch(), 13);
  Numbers all(101);
  std::iota(all.begin(), all.end(), 0);
  std::set<Numbers> orders;
  for (int64_t epoch = 0; epoch < 5; ++epoch) {
    EXPECT_EQ(loader.state().epoch, epoch);
    EXPECT_EQ(loader.state().cursor, 0);
    Numbers order = epoch_of(loader);
    orders.insert(order);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, all);
  }
  EXPECT_EQ(orders.size(), 5u);
  Loader other(dataset, 8, true, 8);
  EXPECT_FALSE(orders.contains(epoch_of(other)));
}

TEST(Loader, TheOrderDependsOnNeitherBatchNorHistory) {
  const Dataset dataset = dataset_of(20);
  Loader by_one(dataset, 1, true, 3), by_seven(dataset, 7, true, 3);
  epoch_of(by_one);
  epoch_of(by_seven);
  EXPECT_EQ(epoch_of(by_one), epoch_of(by_seven));
}

TEST(Loader, WithoutShuffleFileOrderAndAShortLastBatch) {
  const Dataset dataset = dataset_of(5);
  Loader loader(dataset, 2, false, 1);
  EXPECT_EQ(loader.next(), (Numbers{0, 1}));
  EXPECT_EQ(loader.next(), (Numbers{2, 3}));
  EXPECT_EQ(loader.next(), (Numbers{4}));
  EXPECT_EQ(loader.next(), (Numbers{0, 1}));
  Loader wide(dataset, 50, false, 1);
  EXPECT_EQ(wide.next().size(), 5u);
  EXPECT_EQ(wide.next().size(), 5u);
}

// A chi-square test of where the first sequence of an epoch comes from: 4,000 epochs over 20 places, 19
// degrees of freedom; 43.8 is the 99.9 % quantile. The numbers are a fixed function of the key, so this
// cannot flicker.
TEST(Loader, TheShuffleIsUniform) {
  const Dataset dataset = dataset_of(20);
  Loader loader(dataset, 20, true, 12345);
  std::vector<double> first(20), last(20);
  for (int epoch = 0; epoch < 4000; ++epoch) {
    const Numbers order = loader.next();
    ++first[static_cast<size_t>(order.front())];
    ++last[static_cast<size_t>(order.back())];
  }
  for (const auto& counts : {first, last}) {
    double chi_square = 0;
    for (const double count : counts) chi_square += (count - 200) * (count - 200) / 200;
    EXPECT_LT(chi_square, 43.8);
  }
}

TEST(Loader, RestoreGoesOnWithTheSameSequencesFromEveryCursor) {
  const Dataset dataset = dataset_of(23);
  for (const bool shuffle : {true, false}) {
    for (int steps = 0; steps < 20; ++steps) {
      Loader whole(dataset, 4, shuffle, 99);
      for (int i = 0; i < steps; ++i) whole.next();
      Loader resumed(dataset, 4, shuffle, 5);  // the key comes with the state
      epoch_of(resumed);
      resumed.restore(whole.state());
      for (int i = 0; i < 15; ++i) ASSERT_EQ(whole.next(), resumed.next()) << steps << " + " << i;
    }
  }
}

TEST(Loader, RestoresWithAnotherBatchSizeToo) {
  const Dataset dataset = dataset_of(23);
  for (int64_t cursor = 0; cursor < 23; ++cursor) {
    Loader by_one(dataset, 1, true, 99), by_five(dataset, 5, true, 99);
    by_one.restore({.epoch = 2, .cursor = cursor, .key = 99});
    by_five.restore({.epoch = 2, .cursor = cursor, .key = 99});
    for (const int64_t s : by_five.next()) ASSERT_EQ(Numbers{s}, by_one.next());
  }
}

TEST(Loader, RefusesACursorOutsideTheDataSet) {
  const Dataset dataset = dataset_of(5);
  Loader loader(dataset, 2, true, 1);
  for (const LoaderState& state : {LoaderState{0, 5, 1}, LoaderState{0, -1, 1}, LoaderState{-1, 0, 1}}) {
    try {
      loader.restore(state);
      ADD_FAILURE() << "accepted " << state.cursor;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::checkpoint);
    }
  }
}

TEST(Loader, GathersFromItsDataSet) {
  const Dataset dataset = dataset_of(5);
  const Loader loader(dataset, 2, true, 1);
  EXPECT_EQ(loader.gather({4}).tokens, (std::vector<int32_t>{4000, 4001, 4002}));
}

}  // namespace
}  // namespace gorgon
