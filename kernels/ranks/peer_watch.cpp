#include "kernels/ranks/peer_watch.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>

#include <poll.h>
#include <sys/socket.h>

#include "kernels/error.h"

namespace gorgon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kBeat = std::chrono::seconds(1);
constexpr auto kPoll = std::chrono::milliseconds(100);
constexpr auto kGrace = std::chrono::milliseconds(600);  // for a rank that is about to fail by itself
constexpr double kSecondsToSay = 1;
constexpr double kAfterCollectives = 2;  // seconds: a collective that waits for a silent rank tells more
constexpr double kSilent = 2.5;          // seconds; a word comes every second
constexpr double kSecondsOfHello = 10;
constexpr size_t kMaxText = 1 << 20;

// A message: its length, its kind, its text.
constexpr char kHello = 'H', kTable = 'T', kBeatKind = 'B', kLeave = 'L', kFail = 'F', kLost = 'X';
constexpr size_t kHeader = 5;
constexpr size_t kPeerLines = 4, kHelloLines = 2 + kPeerLines;

double seconds_since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

std::string in_seconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", seconds);
  return text;
}

std::string framed(char kind, const std::string& text) {
  const auto size = static_cast<uint32_t>(text.size());
  std::string frame(kHeader, '\0');
  std::memcpy(frame.data(), &size, sizeof size);
  frame[kHeader - 1] = kind;
  return frame + text;
}

bool send_frame(const Socket& socket, char kind, const std::string& text, double seconds) {
  const std::string frame = framed(kind, text);
  return socket.send_all(std::as_bytes(std::span(frame)), seconds);
}

// "" where nothing whole of this kind came.
std::string receive_frame(const Socket& socket, char kind, double seconds) {
  std::string header(kHeader, '\0');
  if (!socket.receive_all(std::as_writable_bytes(std::span(header)), seconds)) return "";
  uint32_t size = 0;
  std::memcpy(&size, header.data(), sizeof size);
  if (header[kHeader - 1] != kind || size > kMaxText) return "";
  std::string text(size, '\0');
  if (!socket.receive_all(std::as_writable_bytes(std::span(text)), seconds)) return "";
  return text;
}

// Fields of one message, a line each.
std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::string text_of(const Peer& peer) {
  return peer.host + "\n" + peer.address + "\n" + std::to_string(peer.port) + "\n" +
         std::to_string(peer.local_rank) + "\n";
}

Peer peer_of(const std::vector<std::string>& lines, size_t at) {
  if (lines.size() < at + kPeerLines) return {};
  return {lines[at], lines[at + 1], std::atoi(lines[at + 2].c_str()), std::atoi(lines[at + 3].c_str())};
}

constexpr const char* kRestart = "see its log; the same command goes on from what is saved";

}  // namespace

PeerWatch::PeerWatch(int rank, int size, MeetingPoint point, Peer self, double seconds)
    : rank_(rank), size_(size), peers_(static_cast<size_t>(size)) {
  peers_[static_cast<size_t>(rank)] = std::move(self);
  if (rank == 0) {
    meet_as_first(point, seconds);
  } else {
    meet_as_other(point, seconds);
  }
}

PeerWatch::~PeerWatch() {
  stop();
}

void PeerWatch::meet_as_first(const MeetingPoint& point, double seconds) {
  const auto start = Clock::now();
  const std::string key = std::to_string(point.token) + " of " + std::to_string(size_);
  std::vector<bool> here(static_cast<size_t>(size_));
  while (std::ssize(connections_) < size_ - 1) {
    const double left = seconds - seconds_since(start);
    if (left <= 0) {
      gorgon::fail(ExitCode::peer,
                   {"rank 0 on " + peers_[0].host, "start", std::to_string(size_) + " ranks",
                    std::to_string(connections_.size() + 1) + " within " + in_seconds(seconds_since(start)),
                    "were all of them started?"});
    }
    Socket socket = point.listener.accept(left);
    if (!socket.is_open()) continue;
    const std::vector<std::string> hello = lines_of(receive_frame(socket, kHello, kSecondsOfHello));
    if (hello.size() < kHelloLines || hello[0] != key) continue;  // not one of this job
    const int peer = std::atoi(hello[1].c_str());
    if (peer < 1 || peer >= size_ || here[static_cast<size_t>(peer)]) continue;
    Peer info = peer_of(hello, 2);
    if (peers_[0].address.empty()) peers_[0].address = info.address;
    info.address = socket.peer_address();
    peers_[static_cast<size_t>(peer)] = std::move(info);
    here[static_cast<size_t>(peer)] = true;
    connections_.push_back({peer, std::move(socket), "", Clock::now(), false});
  }
  std::string table;
  for (const Peer& peer : peers_) table += text_of(peer);
  tell_all(kTable, table);
}

void PeerWatch::meet_as_other(const MeetingPoint& point, double seconds) {
  const auto start = Clock::now();
  const std::string key = std::to_string(point.token) + " of " + std::to_string(size_);
  while (seconds_since(start) < seconds) {
    for (const std::string& address : point.addresses) {
      constexpr double kTry = 2;
      Socket socket = Socket::connect(address, point.port, kTry);
      if (!socket.is_open()) continue;
      Peer self = peers_[static_cast<size_t>(rank_)];
      self.address = address;
      const std::string hello = key + "\n" + std::to_string(rank_) + "\n" + text_of(self);
      const double left = std::max(1.0, seconds - seconds_since(start));
      if (!send_frame(socket, kHello, hello, kTry)) continue;
      const std::vector<std::string> table = lines_of(receive_frame(socket, kTable, left));
      if (table.size() != kPeerLines * peers_.size()) continue;
      for (size_t r = 0; r < peers_.size(); ++r) peers_[r] = peer_of(table, kPeerLines * r);
      peers_[0].address = address;
      connections_.push_back({0, std::move(socket), "", Clock::now(), false});
      return;
    }
    std::this_thread::sleep_for(kPoll);
  }
  gorgon::fail(ExitCode::peer, {"rank " + std::to_string(rank_) + " on " + own_host_name(), "start",
                                "rank 0 at port " + std::to_string(point.port) + " of " +
                                    (point.addresses.empty() ? "no address" : point.addresses.front()),
                                "nobody within " + in_seconds(seconds_since(start)),
                                "was rank 0 started, and does no firewall close the port?"});
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
  while (unread.size() >= kHeader && !connection.over && !lost_) {
    uint32_t size = 0;
    std::memcpy(&size, unread.data(), sizeof size);
    if (size > kMaxText || unread.size() < kHeader + size) break;
    const char kind = unread[kHeader - 1];
    const std::string text = unread.substr(kHeader, size);
    unread.erase(0, kHeader + size);
    take(connection, kind, text);
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
