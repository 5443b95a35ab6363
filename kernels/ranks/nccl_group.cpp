#include "kernels/ranks/nccl_group.h"

#include "kernels/error.h"
#include "kernels/ranks/seconds.h"

namespace gorgon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLook = std::chrono::milliseconds(20);  // between two looks at what is under way
constexpr auto kSettle = std::chrono::microseconds(50);
constexpr auto kMoment = std::chrono::seconds(1);  // for an abort
constexpr double kFirstWord = 1;                   // seconds: rank 0 knows who is silent, and speaks first
constexpr double kForTheWatch = 2.5;               // seconds in which it finds out whose end NCCL has noticed
constexpr double kForAnAbort = 0.5;                // seconds

}  // namespace

NcclGroup::NcclGroup(const NcclApi& api, PeerWatch& watch, NcclId id, int rank, int size)
    : api_(api), watch_(watch), rank_(rank) {
  const int64_t collective = watch_.begin("the start of NCCL");
  std::unique_lock lock(mutex_);
  NcclConfig config;
  settle(lock, api_.comm_init_rank_config(&comm_, size, id, rank, &config));
  watch_.end(collective);
  thread_ = std::thread([this] { look(); });
}

// Where something is still under way, its ranks may never come.
NcclGroup::~NcclGroup() {
  {
    const std::lock_guard lock(mutex_);
    while (!under_way_.empty() && under_way_.front().end->passed()) under_way_.pop_front();
    if (!under_way_.empty()) abort_now();
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (const UnderWay& one : under_way_) watch_.end(one.id);
  if (comm_ != nullptr) api_.comm_destroy(comm_);
}

std::shared_ptr<SideQueue::Mark> NcclGroup::submit(const std::string& name, const SideQueue& queue,
                                                   const Calls& calls) {
  std::unique_lock lock(mutex_);
  if (failed_ || aborting_) wait_for_the_end(lock);
  auto begin = std::make_shared<SideQueue::Mark>(queue);
  const int64_t id = watch_.begin(name, PeerWatch::Starts::later);
  settle(lock, calls(comm_));
  auto end = std::make_shared<SideQueue::Mark>(queue);
  under_way_.push_back({id, std::move(begin), end});
  lock.unlock();
  changed_.notify_all();
  return end;
}

// A call's work is in the queue when NCCL says so, and not before. The start waits for the other ranks here.
void NcclGroup::settle(std::unique_lock<std::mutex>& lock, int result) {
  const auto start = Clock::now();
  for (int asked = 0; result == kNcclInProgress; ++asked) {
    if (comm_ == nullptr) wait_for_the_end(lock);
    if (is_late(start)) {
      give_up("it not begun by all ranks (ddp_timeout)", watch_.missing_on_gpu(), kForAnAbort);
      wait_for_the_end(lock);
    }
    lock.unlock();
    constexpr int kAtOnce = 1000;
    asked < kAtOnce ? std::this_thread::yield() : std::this_thread::sleep_for(kSettle);
    lock.lock();
    if (comm_ == nullptr) wait_for_the_end(lock);
    const int asked_result = api_.comm_get_async_error(comm_, &result);
    if (asked_result != kNcclSuccess) result = asked_result;
  }
  if (result == kNcclSuccess) return;
  fail_by(result);
  wait_for_the_end(lock);
}

void NcclGroup::look() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (aborting_ && !aborted_) abort_now();
    if (under_way_.empty() || aborted_) {
      changed_.wait(lock);
    } else {
      changed_.wait_for(lock, kLook);
      if (!aborting_ && !failed_ && !stopping_) look_after_oldest();
    }
  }
}

void NcclGroup::look_after_oldest() {
  while (!under_way_.empty()) {
    UnderWay& oldest = under_way_.front();
    if (!oldest.has_started && oldest.begin->passed()) {
      oldest.has_started = true;
      oldest.since = Clock::now();
      watch_.started(oldest.id);
    }
    if (!oldest.end->passed()) break;
    watch_.end(oldest.id);
    under_way_.pop_front();
  }
  int result = kNcclSuccess;
  api_.comm_get_async_error(comm_, &result);
  if (result != kNcclSuccess && result != kNcclInProgress) return fail_by(result);
  if (under_way_.empty() || !under_way_.front().has_started || !is_late(under_way_.front().since)) return;
  const int peer = watch_.missing_on_gpu();
  give_up(peer == rank_ ? "it not at its end, though all ranks have begun it (ddp_timeout)"
                        : "nothing from it (ddp_timeout)",
          peer, kForAnAbort);
}

bool NcclGroup::is_late(Clock::time_point start) const {
  return seconds_since(start) > watch_.patience() + (rank_ == 0 ? 0 : kFirstWord);
}

void NcclGroup::fail_by(int result) {
  give_up(std::string("NCCL's '") + api_.get_error_string(result) + "' (NCCL_DEBUG=INFO tells more)", rank_,
          kForTheWatch);
}

void NcclGroup::give_up(const std::string& found, int peer, double seconds) {
  if (failed_) return;
  failed_ = true;
  failure_ = watch_.line(peer, found);
  watch_.give_up(failure_, seconds);
  abort_now();
}

void NcclGroup::abort_now() {
  aborting_ = aborted_ = true;
  void* comm = comm_;
  comm_ = nullptr;
  if (comm != nullptr) api_.comm_abort(comm);
  changed_.notify_all();
}

void NcclGroup::abort() noexcept {
  std::unique_lock lock(mutex_, std::defer_lock);
  const auto end = Clock::now() + kMoment;
  while (!lock.try_lock()) {  // a call of NCCL that does block
    if (Clock::now() > end) return;
    std::this_thread::sleep_for(kSettle);
  }
  aborting_ = true;
  changed_.notify_all();
  if (thread_.joinable()) changed_.wait_until(lock, end, [this] { return aborted_; });
}

// The watch ends the process: what it would do meanwhile has no sense any more.
void NcclGroup::wait_for_the_end(std::unique_lock<std::mutex>& lock) {
  constexpr auto kLongest = std::chrono::seconds(10);
  const auto end = Clock::now() + (failed_ ? kLongest : kMoment);
  const std::string line = failed_ ? failure_ : "the collectives were aborted";
  lock.unlock();
  std::this_thread::sleep_until(end);
  throw Error(ExitCode::peer, line);
}

}  // namespace gorgon
