#pragma once

#include <algorithm>
#include <atomic>

#include "kernels/thread_pool.h"

namespace gorgon {

// Calls worker(i) for every i in [0, count), in ascending order of start, with one worker = make() per thread
// at work: buffers are made once per thread and call, not once per item.
template <typename Make>
void parallel_workers(ThreadPool& threads, int64_t count, const Make& make) {
  std::atomic<int64_t> next{0};
  threads.parallel_for(std::min<int64_t>(count, threads.size()), [&](int64_t) {
    auto worker = make();
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) worker(i);
  });
}

}  // namespace gorgon
