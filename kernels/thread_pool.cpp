#include "kernels/thread_pool.h"

#include <algorithm>
#include <string>
#include <system_error>

#include <hwy/cache_control.h>

#include "kernels/cores.h"
#include "kernels/error.h"

namespace gorgon {

namespace {

// Whether `ready` came true within a few tens of microseconds: a step of decoding is hundreds of loops that
// are shorter than waking a thread up.
template <typename Ready>
bool spin_until(const Ready& ready) {
  constexpr int kLooks = 1000;
  for (int i = 0; i < kLooks; ++i) {
    if (ready()) return true;
    hwy::Pause();
  }
  return false;
}

// What others look at without the lock is written with it.
template <typename T>
T look(const T& value) {
  return std::atomic_ref(const_cast<T&>(value)).load(std::memory_order_acquire);
}
template <typename T>
void show(T& value, T next) {
  std::atomic_ref(value).store(next, std::memory_order_release);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  const int total = threads > 0 ? threads : threads_alone(cores_of_process());
  workers_.reserve(static_cast<size_t>(total - 1));
  try {
    for (int i = 1; i < total; ++i) workers_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    stop();  // a thread that is there when its object goes ends the process
    fail(ExitCode::resource, {"", "threads", std::to_string(total),
                              std::to_string(workers_.size() + 1) + ": " + error.code().message(),
                              "raise ulimit -v or ulimit -u, or run on fewer cores (taskset)"});
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  stop();
}

void ThreadPool::stop() {
  {
    const std::lock_guard lock(mutex_);
    show(stopping_, true);
  }
  start_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_items(const std::function<void(int64_t)>& body, int64_t count) {
  try {
    for (int64_t i = next_.fetch_add(1); i < count; i = next_.fetch_add(1)) body(i);
  } catch (...) {
    next_.store(count);  // the others stop at their next item
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

void ThreadPool::work() {
  uint64_t seen = 0;
  const auto has_news = [&] { return look(stopping_) || look(generation_) != seen; };
  for (;;) {
    spin_until(has_news);
    std::unique_lock lock(mutex_);
    start_.wait(lock, has_news);
    if (stopping_) return;
    seen = generation_;
    if (body_ == nullptr) continue;  // all done before this thread was awake
    show(running_, running_ + 1);
    const std::function<void(int64_t)>* body = body_;
    const int64_t count = count_;
    lock.unlock();
    run_items(*body, count);
    lock.lock();
    show(running_, running_ - 1);
    if (running_ == 0) done_.notify_one();
  }
}

void ThreadPool::parallel_for(int64_t count, const std::function<void(int64_t)>& body) {
  if (count <= 0) return;
  if (count == 1 || workers_.empty()) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    body_ = &body;
    count_ = count;
    next_.store(0);
    error_ = nullptr;
    show(generation_, generation_ + 1);
  }
  start_.notify_all();
  run_items(body, count);
  {
    const std::lock_guard lock(mutex_);
    body_ = nullptr;
  }
  spin_until([&] { return look(running_) == 0; });
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return running_ == 0; });
  if (error_) std::rethrow_exception(error_);
}

void ThreadPool::parallel_ranges(int64_t count, int64_t grain,
                                 const std::function<void(int64_t, int64_t)>& body) {
  grain = std::max<int64_t>(1, grain);
  parallel_for((count + grain - 1) / grain,
               [&](int64_t piece) { body(piece * grain, std::min(count, (piece + 1) * grain)); });
}

}  // namespace gorgon
