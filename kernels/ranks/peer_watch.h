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
#include <string_view>
#include <thread>
#include <vector>

#include "kernels/ranks/meeting.h"

namespace gorgon {

// Watches over the other processes of a job by a thread of its own, whatever the caller computes. All ranks
// hold a TCP connection to rank 0 and say a word a second through it. A connection that breaks without a
// farewell is a process that was killed: known to all within a second, since rank 0 passes it on. A process
// that stays silent for the deadline (stopped, or its machine is gone) is lost as well.
class PeerWatch {
 public:
  // Called once, from the watch's thread, with the line that tells of a lost rank: who, where, in which step
  // and collective, after how many seconds. The caller's collectives will never end: it ends the process.
  // `speaks`: whether this rank is the one that says it for all (the first that is left).
  using OnLoss = std::function<void(const std::string& line, bool speaks)>;

  PeerWatch(int rank, Meeting met);
  ~PeerWatch();
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

  const std::vector<Peer>& peers() const { return peers_; }  // [size]
  void start(OnLoss on_loss);
  void set_deadline(double seconds) { deadline_ = patience_ = seconds; }
  void set_patience(double seconds) { patience_ = seconds; }  // of collectives alone
  double patience() const { return patience_; }

  // What this process is at, for reports; step 0 = before the first, negative = no steps. begin and end
  // enclose a collective; of several under way the oldest is named. One of a GPU is put into a queue and
  // starts later: its seconds count from started().
  enum class Starts : uint8_t { now, later };
  void set_step(int64_t step);
  int64_t begin(std::string_view collective, Starts starts = Starts::now);
  void started(int64_t collective);
  void end(int64_t collective);
  // Who keeps a collective from its end that waits for rank `peer`: a rank that has been silent, where there
  // is one (the one waited for may itself wait for it), else `peer`. Rank 0 hears all others, they hear rank
  // 0.
  int missing(int peer) const;
  // The same for a GPU's collective: else the rank whose GPU has started fewest, where that is fewer than
  // this one's, else this rank.
  int missing_on_gpu() const;
  // Whether this rank is the first that is left, as far as it knows: rank 0, or rank 1 while rank 0 is
  // silent.
  bool speaks_first() const;
  // The line about rank `peer`: "rank 1 on host: step 12: expected its part in COLLECTIVE, found FOUND, after
  // 3.0 s in it; what to do".
  std::string line(int peer, const std::string& found) const;

  // From any thread: this rank cannot go on, and says so in `line`. Its end comes as with a lost rank
  // (on_loss, in the others too) after `seconds`, unless a lost rank is known before.
  void give_up(const std::string& line, double seconds);
  // The process is about to end by on_loss: nothing that it computes may be taken for a result.
  bool is_ending() const { return ending_; }

  // Farewells; the watch is over. failed: tells the others why this process ends; each waits a moment,
  // because it may be about to fail in the same way, and is then lost one rank.
  void leave();
  void fail(const std::string& why);

 private:
  struct Connection {
    int peer = 0;
    Socket socket;
    std::string unread;
    std::chrono::steady_clock::time_point heard;
    bool over = false;                // said farewell
    int64_t started_collectives = 0;  // of its GPU, as of its last word
  };
  struct UnderWay {
    int64_t id;
    std::string name;
    bool has_started;
    std::chrono::steady_clock::time_point since;
  };
  void watch();
  void read(Connection& connection);
  void take(Connection& connection, char kind, const std::string& text);
  void say(Connection& connection, char kind, const std::string& text);
  void tell_all(char kind, const std::string& text);
  void lose(const std::string& line, bool may_fail_alike, bool speaks);
  void lose_self();
  void stop();

  int rank_;
  std::vector<Peer> peers_;
  std::vector<Connection> connections_;  // rank 0: to all others; others: to rank 0
  std::mutex sending_;
  std::atomic<double> deadline_{600}, patience_{600};
  OnLoss on_loss_;

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  bool stopping_ = false;
  int64_t step_ = 0;
  std::deque<UnderWay> under_way_;  // oldest first
  int64_t begun_ = 0, started_later_ = 0;
  std::string own_failure_;
  std::chrono::steady_clock::time_point own_end_;

  std::atomic<bool> ending_{false};
  bool lost_ = false;  // the watch's thread
  std::thread thread_;
};

}  // namespace gorgon
