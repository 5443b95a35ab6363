#include "trainer/rank_share.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/error.h"
#include "trainer/rank_message.h"

namespace gorgon {
namespace {

constexpr auto kRhythm = std::chrono::milliseconds(200);

// The thread that exchanges results with those of the other ranks.
class Exchange {
 public:
  Exchange(RankGroup& ranks, std::string what, const std::function<bool()>& stop_wanted,
           const RankShare::Arrived& arrived)
      : ranks_(ranks), what_(std::move(what)), stop_wanted_(stop_wanted), arrived_(arrived), thread_([this] {
          work();
        }) {}

  // Where the work was left by an exception: the other ranks get no word from here any more.
  ~Exchange() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      abandoned_ = true;
      if (!over_) ranks_.host().abort();
    }
    changed_.notify_all();
    thread_.join();
  }

  void put(int64_t piece, std::string result) {
    const std::lock_guard lock(mutex_);
    if (error_) std::rethrow_exception(error_);
    outbox_.emplace_back(piece, std::move(result));
  }

  // Returns when all ranks have finished.
  void finish() {
    {
      const std::lock_guard lock(mutex_);
      finished_ = true;
    }
    changed_.notify_all();
    thread_.join();
    if (error_) std::rethrow_exception(error_);
    if (stopped_) throw Stopped();
  }

 private:
  void work() {
    std::exception_ptr error;
    try {
      while (exchange()) {
      }
    } catch (...) {
      error = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    error_ = error;
    over_ = true;
  }

  // "" where the work was abandoned.
  std::string next_message() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kRhythm, [this] { return finished_ || abandoned_; });
    if (abandoned_) return "";
    MessageWriter message;
    message.add(finished_);
    message.add(stop_wanted_());
    for (const auto& [piece, result] : std::exchange(outbox_, {})) {
      message.add(piece);
      message.add(result);
    }
    return message.take();
  }

  // Whether to go on.
  bool exchange() {
    const std::string mine = next_message();
    if (mine.empty()) return false;
    bool all_finished = true, stop = false;
    for (const std::string& text : gather_texts(ranks_.host(), mine, what_)) {
      MessageReader message(text);
      bool finished = false, wants_stop = false;
      message.get(finished);
      message.get(wants_stop);
      all_finished = all_finished && finished;
      stop = stop || wants_stop;
      while (!message.at_end()) {
        int64_t piece = 0;
        std::string result;
        message.get(piece);
        message.get(result);
        arrived_(piece, result);
      }
    }
    if (all_finished) return false;
    if (!stop) return true;
    {
      const std::lock_guard lock(mutex_);
      over_ = stopped_ = true;
    }
    ranks_.agree_to_stop();
    return false;
  }

  RankGroup& ranks_;
  const std::string what_;
  const std::function<bool()>& stop_wanted_;
  const RankShare::Arrived& arrived_;
  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::vector<std::pair<int64_t, std::string>> outbox_;
  bool finished_ = false, abandoned_ = false, over_ = false, stopped_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace

RankShare::RankShare(RankGroup& ranks, std::function<bool()> stop_wanted)
    : ranks_(ranks), stop_wanted_(std::move(stop_wanted)) {}

void RankShare::run(int64_t begin, int64_t end, const std::string& what, const Work& work,
                    const Arrived& arrived) {
  std::vector<int64_t> mine;
  for (int64_t piece = begin; piece < end; ++piece) {
    if (piece % ranks_.size() == ranks_.rank()) mine.push_back(piece);
  }
  if (!ranks_.is_several()) {
    work(mine, [&](int64_t piece, std::string result) { arrived(piece, result); });
    return;
  }
  Exchange exchange(ranks_, what, stop_wanted_, arrived);
  if (!mine.empty()) {
    work(mine, [&](int64_t piece, std::string result) { exchange.put(piece, std::move(result)); });
  }
  exchange.finish();
}

std::vector<std::string> RankShare::collect(int64_t count, const std::string& what, const Work& work,
                                            const std::function<void(int64_t)>& progress) {
  std::vector<std::string> results(static_cast<size_t>(count));
  int64_t done = 0;
  run(0, count, what, work, [&](int64_t piece, std::string& result) {
    results[static_cast<size_t>(piece)] = std::move(result);
    if (progress) progress(++done);
  });
  return results;
}

std::vector<std::string> RankShare::collect_each(int64_t count, const std::string& what,
                                                 const std::function<std::string(int64_t)>& work,
                                                 const std::function<void(int64_t)>& progress) {
  return collect(
      count, what,
      [&](const std::vector<int64_t>& mine, const Put& put) {
        for (const int64_t piece : mine) put(piece, work(piece));
      },
      progress);
}

void RankShare::on_first(const std::string& what, const std::function<void()>& work) {
  collect_each(1, what,
               [&](int64_t) {
                 work();
                 return std::string();
               },
               {});
}

}  // namespace gorgon
