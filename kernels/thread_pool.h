#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace gorgon {

// Own threads for own loops (ThreadSanitizer does not understand OpenMP's, and two pools would fight for the
// cores). The caller works too: a pool of n has n - 1 workers. parallel_for is not reentrant: a body must not
// call it on the same pool.
class ThreadPool {
 public:
  // 0 = as many as cores.h gives a process alone. Error(resource) where the system has no thread left.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(i) for every i in [0, count) once, in any order, on any thread; returns when all are done.
  // Which indices exist must not depend on size() where the result has to be the same for any number of
  // threads. The first exception thrown by a body is rethrown here.
  void parallel_for(int64_t count, const std::function<void(int64_t)>& body);

  // Calls body(begin, end) over [0, count) cut into pieces of `grain` elements (the last one shorter).
  void parallel_ranges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

 private:
  void stop();
  void work();
  void run_items(const std::function<void(int64_t)>& body, int64_t count);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(int64_t)>* body_ = nullptr;  // guarded by mutex_; null once every item is taken
  int64_t count_ = 0;
  uint64_t generation_ = 0;
  int running_ = 0;
  bool stopping_ = false;
  std::exception_ptr error_;
  std::atomic<int64_t> next_{0};
};

}  // namespace gorgon
