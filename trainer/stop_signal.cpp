#include "trainer/stop_signal.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <iterator>

#include "kernels/error.h"

namespace gorgon {
namespace {

// A signal handler can reach nothing but static storage.
std::atomic<int> g_signal{0};
std::atomic<int64_t> g_since{0};  // of the first signal: nanoseconds of CLOCK_MONOTONIC
std::atomic<bool> g_in_use{false};
constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};
constexpr const char* kNames[] = {"SIGTERM", "SIGINT", "SIGUSR1"};
struct sigaction g_before[std::size(kSignals)] = {};

static_assert(std::atomic<int>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free,
              "a handler may only touch lock-free atomics");

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kLaunchers = 5 * kSecond;  // in which a launcher may send another one to the rest of a job

int64_t now() {
  timespec time = {};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

extern "C" void remember_signal(int number) {
  const int64_t at = now();
  int64_t first = 0;
  if (g_since.compare_exchange_strong(first, at)) {
    g_signal.store(number);
    return;
  }
  if (at - first < (number == SIGINT ? kSecond : kLaunchers)) return;  // the same request
  // Asked again: the process ends by the signal as soon as this handler returns.
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigaction(number, &action, nullptr);
  raise(number);
}

}  // namespace

StopSignal::StopSignal() {
  require(!g_in_use.exchange(true), "StopSignal", "there is one already");
  listen();
}

void StopSignal::listen() {
  rest();
  g_signal.store(0);
  g_since.store(0);
  struct sigaction action = {};
  action.sa_handler = remember_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &g_before[i]);
  listens_ = true;
}

void StopSignal::rest() {
  for (size_t i = 0; i < std::size(kSignals) && listens_; ++i) sigaction(kSignals[i], &g_before[i], nullptr);
  listens_ = false;
}

StopSignal::~StopSignal() {
  if (!outlives_) rest();
  g_in_use.store(false);
}

void StopSignal::outlive() {
  outlives_ = true;
}

bool StopSignal::requested() const {
  return g_signal.load() != 0;
}

bool StopSignal::is_interrupt() const {
  return g_signal.load() == SIGINT;
}

const char* StopSignal::name() const {
  const auto* found = std::find(std::begin(kSignals), std::end(kSignals), g_signal.load());
  return found == std::end(kSignals) ? "max_run_time" : kNames[found - std::begin(kSignals)];
}

}  // namespace gorgon
