#include "kernels/ranks/tcp_transport.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include <poll.h>
#include <sys/socket.h>

#include "kernels/error.h"

namespace gorgon {
namespace {

constexpr int kPollMilliseconds = 50;
constexpr double kConnect = 30;  // seconds; a peer listens before it is known

// Messages still to be sent to, and received from, one rank.
struct Traffic {
  std::vector<std::span<const std::byte>> out;
  std::vector<std::span<std::byte>> in;
  size_t sent = 0, received = 0;  // messages

  bool sending() const { return sent < out.size(); }
  bool receiving() const { return received < in.size(); }
};

// What recv or send says when there is nothing to do now, or never again.
enum class Progress { some, none, broken };

Progress progress_of(ssize_t result) {
  if (result > 0) return Progress::some;
  return result < 0 && (errno == EAGAIN || errno == EINTR) ? Progress::none : Progress::broken;
}

Progress send_some(int descriptor, Traffic& traffic) {
  std::span<const std::byte>& message = traffic.out[traffic.sent];
  const ssize_t sent = ::send(descriptor, message.data(), message.size(), MSG_NOSIGNAL);
  const Progress progress = progress_of(sent);
  if (progress == Progress::some) message = message.subspan(static_cast<size_t>(sent));
  if (message.empty()) ++traffic.sent;
  return progress;
}

Progress receive_some(int descriptor, Traffic& traffic) {
  std::span<std::byte>& message = traffic.in[traffic.received];
  const ssize_t received = ::recv(descriptor, message.data(), message.size(), 0);
  const Progress progress = progress_of(received);
  if (progress == Progress::some) message = message.subspan(static_cast<size_t>(received));
  if (message.empty()) ++traffic.received;
  return progress;
}

class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(std::vector<Socket> sockets) : sockets_(std::move(sockets)) {}

  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in,
                const WhileWaiting& waiting) override {
    std::vector<Traffic> traffic(sockets_.size());
    for (const Outgoing& m : out) {
      if (m.bytes > 0)
        traffic[static_cast<size_t>(m.peer)].out.emplace_back(m.data, static_cast<size_t>(m.bytes));
    }
    for (const Incoming& m : in) {
      if (m.bytes > 0)
        traffic[static_cast<size_t>(m.peer)].in.emplace_back(m.data, static_cast<size_t>(m.bytes));
    }
    while (poll_once(traffic, waiting)) {
    }
  }

 private:
  // False when nothing is left to do.
  bool poll_once(std::vector<Traffic>& traffic, const WhileWaiting& waiting) {
    std::vector<pollfd> polled;
    std::vector<size_t> peers;
    for (size_t r = 0; r < traffic.size(); ++r) {
      const int events = (traffic[r].sending() ? POLLOUT : 0) | (traffic[r].receiving() ? POLLIN : 0);
      if (events == 0) continue;
      polled.push_back({sockets_[r].descriptor(), static_cast<short>(events), 0});
      peers.push_back(r);
    }
    if (polled.empty()) return false;
    const int ready = ::poll(polled.data(), polled.size(), kPollMilliseconds);
    bool broken = false;
    for (size_t i = 0; i < polled.size() && ready > 0; ++i) {
      Traffic& t = traffic[peers[i]];
      const short events = polled[i].revents;
      if ((events & POLLOUT) != 0 && send_some(polled[i].fd, t) == Progress::broken) broken = true;
      if ((events & POLLIN) != 0 && receive_some(polled[i].fd, t) == Progress::broken) broken = true;
      if ((events & (POLLERR | POLLHUP | POLLNVAL)) != 0 && (events & POLLIN) == 0) broken = true;
    }
    if (broken) std::this_thread::sleep_for(std::chrono::milliseconds(kPollMilliseconds));
    waiting(static_cast<int>(peers.front()));
    return true;
  }

  std::vector<Socket> sockets_;  // [size], none to itself
};

[[noreturn]] void unreachable_peer(int rank, const Peer& peer, const std::string& remedy) {
  fail(ExitCode::peer,
       {"rank " + std::to_string(rank) + " on " + peer.host, "start",
        "a connection at " + peer.address + " port " + std::to_string(peer.port), "none", remedy});
}

}  // namespace

std::unique_ptr<Transport> connect_tcp_transport(int rank, const std::vector<Peer>& peers,
                                                 const Socket& listener, double seconds) {
  constexpr const char* kRemedy = "do all machines reach one another on all ports?";
  std::vector<Socket> sockets(peers.size());
  const auto own = static_cast<uint32_t>(rank);
  for (int r = 0; r < rank; ++r) {
    const Peer& peer = peers[static_cast<size_t>(r)];
    Socket socket = Socket::connect(peer.address, peer.port, kConnect);
    if (!socket.is_open() || !socket.send_all(std::as_bytes(std::span(&own, 1)), kConnect))
      unreachable_peer(r, peer, kRemedy);
    sockets[static_cast<size_t>(r)] = std::move(socket);
  }
  for (size_t missing = peers.size() - static_cast<size_t>(rank) - 1; missing > 0;) {
    Socket socket = listener.accept(seconds);
    if (!socket.is_open()) unreachable_peer(rank, peers[static_cast<size_t>(rank)], kRemedy);
    uint32_t from = 0;
    if (!socket.receive_all(std::as_writable_bytes(std::span(&from, 1)), 10)) continue;
    if (from <= own || from >= peers.size() || sockets[from].is_open()) continue;  // a stranger
    sockets[from] = std::move(socket);
    --missing;
  }
  return std::make_unique<TcpTransport>(std::move(sockets));
}

}  // namespace gorgon
