#include "kernels/thread_pool.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace gorgon {
namespace {

TEST(ThreadPool, CallsEveryIndexOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> calls(37);
      pool.parallel_for(37, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
      for (const auto& n : calls) ASSERT_EQ(n, 1);
    }
  }
}

TEST(ThreadPool, RangesCoverTheWholeAndNothingElse) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum = 0;
  pool.parallel_ranges(1001, 100, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) sum += i;
  });
  EXPECT_EQ(sum, 1000 * 1001 / 2);
}

// Workers asleep, many loops shorter than waking up: a worker that comes late finds a loop's body and what it
// refers to gone, and must leave both alone. More threads than cores, so that some lose theirs in between.
TEST(ThreadPool, ALoopMayEndBeforeItsThreadsAreAwake) {
  ThreadPool pool(16);
  for (int round = 0; round < 30; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (int loop = 0; loop < 500; ++loop) {
      const auto calls = std::make_unique<std::vector<std::atomic<int>>>(3);
      pool.parallel_for(3, [&](int64_t i) { ++(*calls)[static_cast<size_t>(i)]; });
      for (const auto& n : *calls) ASSERT_EQ(n, 1);
    }
  }
}

TEST(ThreadPool, RethrowsTheFirstErrorAndGoesOnWorking) {
  ThreadPool pool(4);
  EXPECT_THROW(pool.parallel_for(100,
                                 [](int64_t i) {
                                   if (i == 7) throw std::runtime_error("seven");
                                 }),
               std::runtime_error);
  std::atomic<int> calls = 0;
  pool.parallel_for(100, [&](int64_t) { ++calls; });
  EXPECT_EQ(calls, 100);
}

}  // namespace
}  // namespace gorgon
