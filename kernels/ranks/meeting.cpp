#include "kernels/ranks/meeting.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <thread>

#include <sys/socket.h>

#include "kernels/ranks/frame.h"
#include "kernels/ranks/seconds.h"

namespace gorgon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kRhythm = 0.1, kTry = 2, kSecondsOfHello = 10;
constexpr int kMostNamed = 8;

// A rank's first word, and rank 0's answers: who is there; go, and say why; go, it has been said.
constexpr char kHello = 'H', kTable = 'T', kRefused = 'R', kOver = 'O';
constexpr const char* kProtocol = "gorgon ranks 2";
constexpr size_t kPeerLines = 5;

std::string text_of(const Peer& peer) {
  return as_line(peer.host) + as_line(peer.address) + as_line(std::to_string(peer.port)) +
         as_line(std::to_string(peer.local_rank)) + as_line(to_text(peer.cores));
}

Peer peer_of(const std::vector<std::string>& lines, size_t at) {
  if (lines.size() < at + kPeerLines) return {};
  return {lines[at], lines[at + 1], std::atoi(lines[at + 2].c_str()), std::atoi(lines[at + 3].c_str()),
          core_share_of(lines[at + 4])};
}

std::string name_of(int rank, const Peer& peer) {
  return "rank " + std::to_string(rank) + " on " + peer.host;
}

std::string line_of(const ErrorParts& parts) {
  try {
    fail(ExitCode::peer, parts);
  } catch (const Error& error) {
    return error.what();
  }
}

struct Hello {
  std::string token, job, declines;  // declines: why the rank will not come; empty = it has come
  int size = 0, rank = 0;
  Peer peer;
};

std::string text_of(const Hello& hello) {
  return as_line(kProtocol) + as_line(hello.token) + as_line(hello.job) + as_line(hello.declines) +
         as_line(std::to_string(hello.size)) + as_line(std::to_string(hello.rank)) + text_of(hello.peer);
}

// Nothing where it is not a rank's word, or not of a rank that knows the token.
std::optional<Hello> receive_hello(const Socket& socket, const std::string& token) {
  constexpr size_t kFields = 6;
  const std::optional<Frame> frame = receive_frame(socket, kSecondsOfHello);
  if (!frame || frame->kind != kHello) return std::nullopt;
  const std::vector<std::string> lines = lines_of(frame->text);
  if (lines.size() != kFields + kPeerLines || lines[0] != kProtocol || lines[1] != token) return std::nullopt;
  Hello hello{lines[1],
              lines[2],
              lines[3],
              std::atoi(lines[4].c_str()),
              std::atoi(lines[5].c_str()),
              peer_of(lines, kFields)};
  hello.peer.address = socket.peer_address();
  return hello;
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
      announcer.say(passed, [&] { return "waiting for " + missing() + " at " + place_; });
      Socket socket = point_.listener.accept(std::clamp(terms_.seconds - passed, 0.0, kRhythm));
      drop_lost();
      if (socket.is_open()) receive(std::move(socket));
    }
    std::string table;
    for (const Peer& peer : met_.peers) table += text_of(peer);
    tell_all(kTable, table);
    return std::move(met_);
  }

 private:
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

  void tell_all(char kind, const std::string& text) {
    for (const auto& connection : met_.connections) send_frame(connection.second, kind, text, kTry);
  }

  [[noreturn]] void give_up(double passed) {
    const std::string line =
        line_of({name_of(0, met_.peers[0]), "start",
                 std::to_string(size_) + " ranks within " + in_seconds(passed) + " (ddp_timeout)",
                 std::to_string(met_.connections.size() + 1) + ", without " + missing(),
                 "were all of them started, and do they reach " + place_ + "?"});
    tell_all(kOver, line);
    throw NotMet(line, false);
  }

  // A rank that ended while it waited is missing again.
  void drop_lost() {
    std::erase_if(met_.connections, [](const auto& connection) {
      char byte = 0;
      const ssize_t result = ::recv(connection.second.descriptor(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      return result == 0 || (result < 0 && errno != EAGAIN && errno != EINTR);
    });
  }

  // Why a rank cannot be one of these; empty = it can.
  std::string objection(const Hello& hello) const {
    const std::string who = name_of(hello.rank, hello.peer);
    const bool says_no_job = !hello.declines.empty() && hello.job.empty();  // it failed before it knew
    if (hello.job != point_.job && !says_no_job) {
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

  void receive(Socket socket) {
    const std::optional<Hello> hello = receive_hello(socket, point_.token);
    if (!hello) return;  // a stranger
    const std::string no = objection(*hello);
    if (!no.empty()) {
      send_frame(socket, kRefused, no, kTry);
      if (terms_.say) terms_.say("turned away " + no);
      return;
    }
    if (!hello->declines.empty()) {
      const std::string line = name_of(hello->rank, hello->peer) + " ended: " + hello->declines;
      send_frame(socket, kOver, line, kTry);
      tell_all(kOver, line);
      throw NotMet(line, false);
    }
    if (met_.peers[0].address.empty()) met_.peers[0].address = hello->peer.address;
    met_.peers[static_cast<size_t>(hello->rank)] = hello->peer;
    met_.connections.emplace_back(hello->rank, std::move(socket));
  }

  int size_;
  const MeetingPoint& point_;
  const MeetingTerms& terms_;
  std::string place_;
  Meeting met_;
};

// What a rank asks rank 0, and what it is told; nothing where rank 0 was not there or is gone again.
class OtherRank {
 public:
  OtherRank(int rank, int size, const MeetingPoint& point, Peer self, std::string declines) : point_(point) {
    hello_ = {point.token, point.job, std::move(declines), size, rank, std::move(self)};
  }

  struct Answer {
    Frame frame;
    Socket socket;
    std::string address;
  };
  std::optional<Answer> ask(double seconds) {
    for (const std::string& address : point_.addresses) {
      Socket socket = Socket::connect(address, point_.port, kTry);
      if (!socket.is_open()) continue;
      hello_.peer.address = address;
      if (!send_frame(socket, kHello, text_of(hello_), kTry)) continue;
      std::optional<Frame> frame = receive_frame(socket, std::max(kTry, seconds));
      if (frame) return Answer{std::move(*frame), std::move(socket), address};
    }
    return std::nullopt;
  }

  std::string place() const {
    return (point_.addresses.empty() ? "no address" : point_.addresses.front()) + ":" +
           std::to_string(point_.port);
  }
  const Hello& hello() const { return hello_; }

 private:
  const MeetingPoint& point_;
  Hello hello_;
};

Meeting take_table(OtherRank::Answer answer, int rank, int size, const Peer& self) {
  const std::vector<std::string> table = lines_of(answer.frame.text);
  require(table.size() == kPeerLines * static_cast<size_t>(size), "meet", "a line for every rank");
  Meeting met;
  for (size_t r = 0; r < static_cast<size_t>(size); ++r) met.peers.push_back(peer_of(table, kPeerLines * r));
  met.peers[0].address = answer.address;
  met.peers[static_cast<size_t>(rank)].host = self.host;
  met.connections.emplace_back(0, std::move(answer.socket));
  return met;
}

Meeting meet_first(int rank, int size, const MeetingPoint& point, const Peer& self,
                   const MeetingTerms& terms) {
  const auto start = Clock::now();
  OtherRank asker(rank, size, point, self, "");
  Announcer announcer(terms);
  const bool speaks = rank == 1 || self.local_rank == 0;
  while (seconds_since(start) < terms.seconds) {
    std::optional<OtherRank::Answer> answer = asker.ask(terms.seconds - seconds_since(start) + kTry);
    if (answer && answer->frame.kind == kTable) return take_table(std::move(*answer), rank, size, self);
    if (answer) throw NotMet(answer->frame.text, answer->frame.kind == kOver);
    if (speaks) {
      announcer.say(seconds_since(start),
                    [&] { return name_of(rank, self) + ": waiting for rank 0 at " + asker.place(); });
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(kRhythm));
  }
  throw NotMet(line_of({name_of(rank, self), "start", "rank 0 at " + asker.place(),
                        "nobody within " + in_seconds(seconds_since(start)) + " (ddp_timeout)",
                        "was rank 0 started, and does no firewall close the port?"}),
               !speaks);
}

// Rank 0 is the one that tells people: the others hear from it that it has.
void decline_as_first(int size, const MeetingPoint& point, const Peer& self, const std::string& why,
                      double seconds) {
  const auto start = Clock::now();
  std::vector<bool> told(static_cast<size_t>(size));
  for (int left = size - 1; left > 0 && seconds_since(start) < seconds;) {
    const Socket socket = point.listener.accept(kRhythm);
    if (!socket.is_open()) continue;
    const std::optional<Hello> hello = receive_hello(socket, point.token);
    if (!hello || hello->rank < 1 || hello->rank >= size) continue;
    send_frame(socket, kOver, name_of(0, self) + " ended: " + why, kTry);
    if (!told[static_cast<size_t>(hello->rank)]) --left;
    told[static_cast<size_t>(hello->rank)] = true;
  }
}

}  // namespace

Meeting meet(int rank, int size, const MeetingPoint& point, const Peer& self, const MeetingTerms& terms) {
  if (rank == 0) return FirstRank(size, point, self, terms).meet();
  return meet_first(rank, size, point, self, terms);
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
    const std::optional<OtherRank::Answer> answer = asker.ask(kTry);
    if (answer) return answer->frame.kind == kOver;
    std::this_thread::sleep_for(std::chrono::duration<double>(kRhythm));
  }
  return false;
}

}  // namespace gorgon
