#include "kernels/ranks/peer_watch.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include <poll.h>
#include <sys/socket.h>

#include "kernels/ranks/frame.h"
#include "kernels/ranks/seconds.h"

namespace gorgon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kBeat = std::chrono::seconds(1);
constexpr auto kPoll = std::chrono::milliseconds(100);
constexpr auto kGrace = std::chrono::milliseconds(600);  // for a rank that is about to fail by itself
constexpr double kSecondsToSay = 1;
constexpr double kAfterCollectives = 2;  // seconds: a collective that waits for a silent rank tells more
constexpr double kSilent = 2.5;          // seconds; a word comes every second

// Kinds of messages.
constexpr char kBeatKind = 'B', kLeave = 'L', kFail = 'F', kLost = 'X';

constexpr const char* kRestart = "see its log; the same command goes on from what is saved";

}  // namespace

PeerWatch::PeerWatch(int rank, Meeting met) : rank_(rank), peers_(std::move(met.peers)) {
  for (auto& [peer, socket] : met.connections) {
    connections_.push_back({peer, std::move(socket), "", Clock::now(), false});
  }
}

PeerWatch::~PeerWatch() {
  stop();
}

void PeerWatch::start(OnLoss on_loss) {
  on_loss_ = std::move(on_loss);
  for (Connection& connection : connections_) connection.heard = Clock::now();
  thread_ = std::thread([this] { watch(); });
}

void PeerWatch::set_step(int64_t step) {
  const std::lock_guard lock(mutex_);
  step_ = step;
}

int64_t PeerWatch::begin(std::string_view collective, Starts starts) {
  const std::lock_guard lock(mutex_);
  under_way_.push_back({++begun_, std::string(collective), starts == Starts::now, Clock::now()});
  return begun_;
}

void PeerWatch::started(int64_t collective) {
  const std::lock_guard lock(mutex_);
  for (UnderWay& one : under_way_) {
    if (one.id != collective) continue;
    one.has_started = true;
    one.since = Clock::now();
    ++started_later_;
  }
}

void PeerWatch::end(int64_t collective) {
  const std::lock_guard lock(mutex_);
  std::erase_if(under_way_, [&](const UnderWay& one) { return one.id == collective; });
}

int PeerWatch::missing(int peer) const {
  const std::lock_guard lock(mutex_);
  const auto quietest = std::min_element(connections_.begin(), connections_.end(),
                                         [](const auto& a, const auto& b) { return a.heard < b.heard; });
  return seconds_since(quietest->heard) > kSilent ? quietest->peer : peer;
}

int PeerWatch::missing_on_gpu() const {
  if (connections_.empty()) return rank_;
  const int silent = missing(rank_);
  if (silent != rank_) return silent;
  const std::lock_guard lock(mutex_);
  const auto last = std::min_element(
      connections_.begin(), connections_.end(),
      [](const auto& a, const auto& b) { return a.started_collectives < b.started_collectives; });
  return last->started_collectives < started_later_ ? last->peer : rank_;
}

bool PeerWatch::speaks_first() const {
  return rank_ == 0 || (rank_ == 1 && missing(rank_) == 0);
}

std::string PeerWatch::line(int peer, const std::string& found) const {
  const std::lock_guard lock(mutex_);
  std::string at;
  if (step_ >= 0) at = (step_ == 0 ? "before step 1" : "step " + std::to_string(step_)) + ": ";
  std::string part = "its part", after;
  if (!under_way_.empty()) {
    part += " in " + under_way_.front().name;
    if (under_way_.front().has_started)
      after = ", after " + in_seconds(seconds_since(under_way_.front().since)) + " in it";
  }
  return "rank " + std::to_string(peer) + " on " + peers_[static_cast<size_t>(peer)].host + ": " + at +
         "expected " + part + ", found " + found + after + "; " + kRestart;
}

void PeerWatch::give_up(const std::string& line, double seconds) {
  const std::lock_guard lock(mutex_);
  if (!own_failure_.empty()) return;
  ending_ = true;
  own_failure_ = line;
  own_end_ =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

void PeerWatch::leave() {
  stop();
  tell_all(kLeave, "");
}

void PeerWatch::fail(const std::string& why) {
  stop();
  tell_all(kFail, "rank " + std::to_string(rank_) + " on " + peers_[static_cast<size_t>(rank_)].host +
                      " ended: " + why);
}

void PeerWatch::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable() && thread_.get_id() != std::this_thread::get_id()) thread_.join();
}

void PeerWatch::say(Connection& connection, char kind, const std::string& text) {
  const std::lock_guard lock(sending_);
  send_frame(connection.socket, kind, text, kSecondsToSay);  // a lost one is found by reading
}

void PeerWatch::tell_all(char kind, const std::string& text) {
  for (Connection& connection : connections_) {
    if (!connection.over) say(connection, kind, text);
  }
}

void PeerWatch::watch() {
  auto last_beat = Clock::now() - kBeat;
  while (!lost_) {
    int64_t started = 0;
    bool gives_up = false;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      started = started_later_;
      gives_up = !own_failure_.empty() && Clock::now() >= own_end_;
    }
    if (gives_up) return lose_self();
    if (Clock::now() - last_beat >= kBeat) {
      last_beat = Clock::now();
      tell_all(kBeatKind, std::to_string(started));
    }
    std::vector<pollfd> waiting;
    for (const Connection& c : connections_)
      waiting.push_back({c.over ? -1 : c.socket.descriptor(), POLLIN, 0});
    ::poll(waiting.data(), waiting.size(), static_cast<int>(kPoll.count()));
    for (size_t i = 0; i < waiting.size() && !lost_; ++i) {
      Connection& connection = connections_[i];
      if (waiting[i].revents != 0) read(connection);
      const double silent = seconds_since(connection.heard);
      if (!connection.over && !lost_ && silent > deadline_ + kAfterCollectives)
        lose(line(connection.peer, "nothing heard for " + in_seconds(silent)), false,
             rank_ <= 1);  // rank 1 sees only rank 0 go
    }
  }
}

void PeerWatch::read(Connection& connection) {
  char buffer[4096];
  const ssize_t received = ::recv(connection.socket.descriptor(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (received <= 0) {
    lose(line(connection.peer,
              "its process gone, last heard " + in_seconds(seconds_since(connection.heard)) + " ago"),
         false, rank_ <= 1);  // rank 1 sees only rank 0 go
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    connection.heard = Clock::now();
  }
  std::string& unread = connection.unread;
  unread.append(buffer, static_cast<size_t>(received));
  while (!connection.over && !lost_) {
    const std::optional<Frame> frame = take_frame(unread);
    if (!frame) break;
    take(connection, frame->kind, frame->text);
  }
}

void PeerWatch::take(Connection& connection, char kind, const std::string& text) {
  if (kind == kLeave) {
    connection.over = true;
  } else if (kind == kFail) {
    connection.over = true;
    lose(text, true, rank_ == 0);
  } else if (kind == kLost) {
    lose(text, false, false);
  } else if (kind == kBeatKind) {
    const std::lock_guard lock(mutex_);
    connection.started_collectives = std::atoll(text.c_str());
  }
}

// The others hear it from rank 0.
void PeerWatch::lose_self() {
  lost_ = true;
  tell_all(rank_ == 0 ? kLost : kFail, own_failure_);
  on_loss_(own_failure_, speaks_first());
}

void PeerWatch::lose(const std::string& text, bool may_fail_alike, bool speaks) {
  lost_ = true;
  if (rank_ == 0) tell_all(may_fail_alike ? kFail : kLost, text);
  if (may_fail_alike) {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, kGrace, [this] { return stopping_; })) return;
  }
  ending_ = true;
  on_loss_(text, speaks);
}

}  // namespace gorgon
