#include "kernels/ranks/meeting.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "kernels/ranks/frame.h"
#include "kernels/ranks/hello.h"
#include "kernels/ranks/seconds.h"

namespace gorgon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kRhythm = 0.1, kTry = 2, kLook = 1;
constexpr int kMostNamed = 8;
constexpr int kMaxPort = 65535, kAside = 20000;

// Where a rank 0 that cannot listen at `port` says so: far from the ports of other jobs, which are often the
// next ones.
int port_aside(int port) {
  return port <= kMaxPort - kAside ? port + kAside : port - kAside;
}

// The first address of `addresses` that is a name of nothing, and why; empty where all stand for something.
std::string unknown_address(const MeetingPoint& point) {
  for (const std::string& address : point.addresses) {
    const std::string why = why_unknown(address);
    if (!why.empty()) return quote_value(address) + ": " + why;
  }
  return "";
}

// Says a line in the rhythm of the terms.
class Announcer {
 public:
  explicit Announcer(const MeetingTerms& terms) : terms_(terms), next_(terms.first_word) {}
  template <typename Line>
  void say(double passed, const Line& line) {
    if (passed < next_ || !terms_.say) return;
    next_ = passed + terms_.next_words;
    terms_.say(line());
  }

 private:
  const MeetingTerms& terms_;
  double next_;
};

class FirstRank {
 public:
  FirstRank(int size, const MeetingPoint& point, const Peer& self, const MeetingTerms& terms)
      : size_(size),
        point_(point),
        terms_(terms),
        place_(self.host + ":" + std::to_string(point.listener.port())) {
    met_.peers.resize(static_cast<size_t>(size));
    met_.peers[0] = self;
  }

  Meeting meet() {
    const auto start = Clock::now();
    Announcer announcer(terms_);
    while (std::ssize(met_.connections) < size_ - 1) {
      const double passed = seconds_since(start);
      if (passed >= terms_.seconds) give_up(passed);
      if (turned_away_ && seconds_since(turned_away_->when) >= terms_.turned_away) end(turned_away_->why);
      announcer.say(passed, [&] { return "waiting for " + missing() + " at " + place_ + trouble(); });
      Socket socket = point_.listener.accept(std::clamp(terms_.seconds - passed, 0.0, kRhythm));
      drop_lost();
      if (socket.is_open()) receive(std::move(socket));
    }
    tell_all(kTable, table_of(met_.peers));
    return std::move(met_);
  }

 private:
  struct TurnedAway {
    Clock::time_point when;
    std::string why;
  };

  bool is_here(int rank) const {
    return rank == 0 || std::any_of(met_.connections.begin(), met_.connections.end(),
                                    [&](const auto& connection) { return connection.first == rank; });
  }

  // "ranks 2, 3 of 4"
  std::string missing() const {
    std::string names;
    int count = 0;
    for (int r = 1; r < size_; ++r) {
      if (is_here(r)) continue;
      if (++count <= kMostNamed) names += (names.empty() ? "" : ", ") + std::to_string(r);
    }
    if (count > kMostNamed) names += " and " + std::to_string(count - kMostNamed) + " more";
    return (count == 1 ? "rank " : "ranks ") + names + " of " + std::to_string(size_);
  }

  // A name of this machine that stands for nothing here will hardly do so elsewhere.
  std::string trouble() const {
    const std::string unknown = unknown_address(point_);
    return unknown.empty() ? "" : "; MASTER_ADDR " + unknown;
  }

  void tell_all(char kind, const std::string& text) {
    for (const auto& connection : met_.connections) send_frame(connection.second, kind, text, kTry);
  }

  // The others hear why, and that people have been told.
  [[noreturn]] void end(const std::string& line) {
    tell_all(kOver, line);
    throw NotMet(line, false);
  }

  [[noreturn]] void give_up(double passed) {
    end(line_of({name_of(0, met_.peers[0]), "start",
                 std::to_string(size_) + " ranks within " + in_seconds(passed) + " (ddp_timeout)",
                 std::to_string(met_.connections.size() + 1) + ", without " + missing() + trouble(),
                 "were all of them started, and do they reach " + place_ + "?"}));
  }

  // A rank that ended while it waited is missing again.
  void drop_lost() {
    std::erase_if(met_.connections, [](const auto& connection) { return connection.second.is_lost(); });
  }

  bool is_of_another_job(const Hello& hello) const {
    const bool says_none = !hello.declines.empty() && hello.job.empty();  // it failed before it knew
    return hello.job != point_.job && !says_none;
  }

  // Why a rank cannot be one of these; empty = it can.
  std::string objection(const Hello& hello) const {
    if (hello.protocol != kProtocol) {
      return line_of({"a rank at " + hello.peer.address, "start", kProtocol + std::string(" as on rank 0"),
                      quote_value(hello.protocol), "start all ranks with the same version of gorgon"});
    }
    const std::string who = name_of(hello.rank, hello.peer);
    if (is_of_another_job(hello)) {
      return line_of(
          {who, "start", "at " + place_ + " a rank of the job with " + point_.job,
           "one of the job with " + hello.job,
           "choose another MASTER_PORT, or set GORGON_JOB to the same name for all ranks of a job"});
    }
    if (hello.size != size_) {
      return line_of({who, "start", std::to_string(size_) + " ranks as on rank 0", std::to_string(hello.size),
                      "start all ranks with one launcher"});
    }
    if (hello.rank < 1 || hello.rank >= size_ || is_here(hello.rank)) {
      return line_of({who, "start", "every rank from 0 to " + std::to_string(size_ - 1) + " once",
                      "another rank " + std::to_string(hello.rank), "start all ranks with one launcher"});
    }
    return "";
  }

  void turn_away(const Socket& socket, const Hello& hello, const std::string& why) {
    send_frame(socket, kRefused, why, kTry);
    if (terms_.say) terms_.say("turned away " + why);
    const bool is_stranger = is_of_another_job(hello) && hello.job_is_named && point_.job_is_named;
    if (!is_stranger && !turned_away_) turned_away_ = {Clock::now(), why};
  }

  void receive(Socket socket) {
    const std::optional<Hello> hello = receive_hello(socket, point_.token, kHello);
    if (!hello) return;  // a stranger
    const std::string no = objection(*hello);
    if (!no.empty()) return turn_away(socket, *hello, no);
    if (!hello->declines.empty()) {
      const std::string line = name_of(hello->rank, hello->peer) + " ended: " + hello->declines;
      send_frame(socket, kOver, line, kTry);
      end(line);
    }
    send_frame(socket, kHeard, "", kTry);
    if (met_.peers[0].address.empty()) met_.peers[0].address = hello->peer.address;
    met_.peers[static_cast<size_t>(hello->rank)] = hello->peer;
    met_.connections.emplace_back(hello->rank, std::move(socket));
  }

  int size_;
  const MeetingPoint& point_;
  const MeetingTerms& terms_;
  std::string place_;
  Meeting met_;
  std::optional<TurnedAway> turned_away_;  // the first that was, by a mistake
};

// What a rank asks rank 0, and what it is told; nothing where rank 0 was not there or is gone again.
class OtherRank {
 public:
  OtherRank(int rank, int size, const MeetingPoint& point, Peer self, std::string declines) : point_(point) {
    hello_ = {kProtocol,           point.token, point.job, point.job_is_named,
              std::move(declines), size,        rank,      std::move(self)};
  }

  struct Answer {
    Frame frame;
    Socket socket;
    std::string address;
  };
  // unheard: called about every second until rank 0 has heard it.
  std::optional<Answer> ask(double seconds, const std::function<void()>& unheard) {
    bool connected = false;
    for (const std::string& address : point_.addresses) {
      std::optional<Socket> socket = say(kHello, address, point_.port);
      if (!socket) continue;
      connected = true;
      if (!strange_since_) strange_since_ = Clock::now();
      std::optional<Frame> frame = answer(*socket, std::max(kTry, seconds), unheard);
      if (frame) return Answer{std::move(*frame), std::move(*socket), address};
    }
    if (!connected) strange_since_.reset();
    return std::nullopt;
  }

  // What a rank 0 of this job says that could not listen at the port.
  std::optional<std::string> ask_aside() {
    if (!point_.token.empty()) return std::nullopt;  // its port was free
    for (const std::string& address : point_.addresses) {
      const std::optional<Socket> socket = say(kAskAside, address, port_aside(point_.port));
      if (!socket) continue;
      const std::optional<Frame> frame = receive_frame(*socket, kTry);
      if (frame && frame->kind == kOver) return frame->text;
    }
    return std::nullopt;
  }

  // For how long something that is not rank 0 has answered there; 0 where nothing does.
  double seconds_strange() const { return strange_since_ ? seconds_since(*strange_since_) : 0; }

  std::string place() const {
    return (point_.addresses.empty() ? "no address" : point_.addresses.front()) + ":" +
           std::to_string(point_.port);
  }

 private:
  std::optional<Socket> say(char kind, const std::string& address, int port) {
    Socket socket = Socket::connect(address, port, kTry);
    if (!socket.is_open()) return std::nullopt;
    hello_.peer.address = address;
    if (!send_frame(socket, kind, text_of(hello_), kTry)) return std::nullopt;
    return socket;
  }

  std::optional<Frame> answer(const Socket& socket, double seconds, const std::function<void()>& unheard) {
    const auto start = Clock::now();
    bool heard = false;
    while (seconds_since(start) < seconds) {
      if (!socket.is_readable(kLook)) {
        if (!heard) unheard();
        continue;
      }
      std::optional<Frame> frame = receive_frame(socket, kTry);
      if (!frame) return std::nullopt;
      if (frame->kind == kTable || frame->kind == kRefused || frame->kind == kOver) return frame;
      if (frame->kind != kHeard) return std::nullopt;
      heard = true;
      strange_since_.reset();
    }
    return std::nullopt;
  }

  const MeetingPoint& point_;
  Hello hello_;
  std::optional<Clock::time_point> strange_since_;
};

Meeting take_table(OtherRank::Answer answer, int rank, int size, const Peer& self) {
  Meeting met;
  met.peers = peers_of_table(answer.frame.text, size);
  met.peers[0].address = answer.address;
  met.peers[static_cast<size_t>(rank)].host = self.host;
  met.connections.emplace_back(0, std::move(answer.socket));
  return met;
}

// A rank that is not the first: asks until rank 0 lets it in, and looks meanwhile for what may be wrong.
class LaterRank {
 public:
  LaterRank(int rank, int size, const MeetingPoint& point, const Peer& self, const MeetingTerms& terms)
      : rank_(rank),
        size_(size),
        point_(point),
        self_(self),
        terms_(terms),
        asker_(rank, size, point, self, ""),
        announcer_(terms),
        speaks_(rank == 1 || self.local_rank == 0) {}

  Meeting meet() {
    while (passed() < terms_.seconds) {
      std::optional<OtherRank::Answer> answer =
          asker_.ask(terms_.seconds - passed() + kTry, [this] { look_around(); });
      if (answer && answer->frame.kind == kTable) return take_table(std::move(*answer), rank_, size_, self_);
      if (answer) throw NotMet(answer->frame.text, answer->frame.kind == kOver);
      look_around();
      std::this_thread::sleep_for(std::chrono::duration<double>(kRhythm));
    }
    fail_by("nobody within " + in_seconds(passed()) + " (ddp_timeout)" + trouble(),
            "was rank 0 started, and does no firewall close the port?");
  }

 private:
  double passed() const { return seconds_since(start_); }

  std::string trouble() const {
    const std::string unknown = unknown_address(point_);
    if (!unknown.empty()) return "; MASTER_ADDR " + unknown;
    return asker_.seconds_strange() > kTry ? "; something else answers there" : "";
  }

  [[noreturn]] void fail_by(const std::string& found, const std::string& remedy) const {
    throw NotMet(line_of({name_of(rank_, self_), "start", "rank 0 at " + asker_.place(), found, remedy}),
                 !speaks_);
  }

  void look_around() {
    if (passed() >= next_look_) {
      if (const std::optional<std::string> why = asker_.ask_aside()) throw NotMet(*why, true);
      next_look_ = passed() + kLook;
    }
    if (asker_.seconds_strange() > terms_.strange) {
      fail_by("something that answers otherwise for " + in_seconds(asker_.seconds_strange()),
              "choose another MASTER_PORT, and start all ranks with the same version of gorgon");
    }
    if (!speaks_) return;
    announcer_.say(passed(), [&] {
      return name_of(rank_, self_) + ": waiting for rank 0 at " + asker_.place() + trouble();
    });
  }

  const Clock::time_point start_ = Clock::now();
  const int rank_, size_;
  const MeetingPoint& point_;
  const Peer& self_;
  const MeetingTerms& terms_;
  OtherRank asker_;
  Announcer announcer_;
  const bool speaks_;
  double next_look_ = kLook;
};

// Rank 0 is the one that tells people: the others hear from it that it has.
void decline_as_first(int size, const MeetingPoint& point, const Peer& self, const std::string& why,
                      double seconds) {
  const auto start = Clock::now();
  const bool is_aside = !point.listener.is_open();
  const Socket aside = is_aside ? Socket::listen(port_aside(point.port)) : Socket();
  const Socket& listener = is_aside ? aside : point.listener;
  if (!listener.is_open()) return;
  std::vector<bool> told(static_cast<size_t>(size));
  for (int left = size - 1; left > 0 && seconds_since(start) < seconds;) {
    const Socket socket = listener.accept(kRhythm);
    if (!socket.is_open()) continue;
    const std::optional<Hello> hello = receive_hello(socket, point.token, is_aside ? kAskAside : kHello);
    if (!hello || hello->rank < 1 || hello->rank >= size) continue;
    if (is_aside && hello->job != point.job) continue;  // of those to whom the port belongs, perhaps
    send_frame(socket, kOver, name_of(0, self) + " ended: " + why, kTry);
    if (!told[static_cast<size_t>(hello->rank)]) --left;
    told[static_cast<size_t>(hello->rank)] = true;
  }
}

}  // namespace

Meeting meet(int rank, int size, const MeetingPoint& point, const Peer& self, const MeetingTerms& terms) {
  if (rank == 0) return FirstRank(size, point, self, terms).meet();
  return LaterRank(rank, size, point, self, terms).meet();
}

bool decline(int rank, int size, const MeetingPoint& point, const Peer& self, const std::string& why,
             double seconds) {
  if (rank == 0) {
    decline_as_first(size, point, self, why, seconds);
    return false;
  }
  const auto start = Clock::now();
  OtherRank asker(rank, size, point, self, why);
  while (seconds_since(start) < seconds) {
    const std::optional<OtherRank::Answer> answer = asker.ask(kTry, [] {});
    if (answer) return answer->frame.kind == kOver;
    if (asker.ask_aside()) return true;
    std::this_thread::sleep_for(std::chrono::duration<double>(kRhythm));
  }
  return false;
}

}  // namespace gorgon
