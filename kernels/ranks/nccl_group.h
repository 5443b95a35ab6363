#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "kernels/ranks/nccl_api.h"
#include "kernels/ranks/peer_watch.h"
#include "kernels/side_queue.h"

namespace gorgon {

// This process' ncclComm_t, which never blocks (NCCL's "blocking = 0"), and a thread that looks after what it
// has under way, since a GPU whose collective waits for a lost rank tells nobody. It asks NCCL for errors,
// lets the watch know which collective the GPU is at, and ends the process by it (peer_watch.h, give_up) when
// NCCL has an error or the collective is not at its end within the watch's patience. A group that has failed
// is aborted: the GPU's queue goes on with whatever is in memory, and no call returns.
class NcclGroup {
 public:
  // On the GPU that is current (SideQueue makes its own so). Returns when all ranks have come. watch must
  // outlive it.
  NcclGroup(const NcclApi& api, PeerWatch& watch, NcclId id, int rank, int size);
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  // What is done in `queue` by the calls of NCCL that `calls` makes, of which it returns the first result
  // that is neither success nor in progress. When it returns, all of it is in the queue.
  using Calls = std::function<int(void* comm)>;
  std::shared_ptr<SideQueue::Mark> submit(const std::string& name, const SideQueue& queue,
                                          const Calls& calls);

  // From any thread: what is under way ends. Returns when it is done, or after a moment.
  void abort() noexcept;

 private:
  struct UnderWay {
    int64_t id;  // the watch's
    std::shared_ptr<SideQueue::Mark> begin, end;
    bool has_started = false;
    std::chrono::steady_clock::time_point since{};
  };
  void settle(std::unique_lock<std::mutex>& lock, int result);
  void look();
  void look_after_oldest();
  bool is_late(std::chrono::steady_clock::time_point start) const;
  void fail_by(int result);
  void give_up(const std::string& found, int peer, double seconds);
  void abort_now();
  [[noreturn]] void wait_for_the_end(std::unique_lock<std::mutex>& lock);

  const NcclApi api_;
  PeerWatch& watch_;
  const int rank_;
  std::mutex mutex_;  // of what follows; held in every call of NCCL, none of which blocks
  std::condition_variable changed_;
  void* comm_ = nullptr;
  std::deque<UnderWay> under_way_;  // oldest first
  bool stopping_ = false, aborting_ = false, aborted_ = false, failed_ = false;
  std::string failure_;
  std::thread thread_;
};

}  // namespace gorgon
