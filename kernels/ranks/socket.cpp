#include "kernels/ranks/socket.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gorgon {
namespace {

using Clock = std::chrono::steady_clock;

class Limit {
 public:
  explicit Limit(double seconds)
      : end_(Clock::now() +
             std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))) {}
  // Waits until `events` are there; false when the time is over.
  bool wait(int descriptor, short events) const {
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end_ - Clock::now()).count();
      pollfd one{descriptor, events, 0};
      const int result = ::poll(&one, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 1000)));
      if (result > 0) return true;
      if (result < 0 && errno != EINTR) return false;
      if (left <= 0) return false;
    }
  }

 private:
  Clock::time_point end_;
};

void prepare(int descriptor) {
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

std::string numeric(const sockaddr* address, socklen_t size) {
  char host[NI_MAXHOST] = {};
  if (::getnameinfo(address, size, host, sizeof host, nullptr, 0, NI_NUMERICHOST) != 0) return "";
  const std::string text = host;
  constexpr std::string_view kMapped = "::ffff:";
  return text.starts_with(kMapped) ? text.substr(kMapped.size()) : text;
}

// The addresses of a host.
class Lookup {
 public:
  Lookup(const std::string& host, int port) : found_(nullptr, &::freeaddrinfo) {
    addrinfo hints = {};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    error_ = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (error_ == 0) found_.reset(found);
  }
  const addrinfo* first() const { return found_.get(); }
  std::string error() const { return error_ == 0 ? "" : ::gai_strerror(error_); }

 private:
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> found_;
  int error_ = 0;
};

Socket connect_to(const addrinfo& address, double seconds) {
  Socket socket(::socket(address.ai_family, SOCK_STREAM, 0));
  if (!socket.is_open()) return {};
  prepare(socket.descriptor());
  if (::connect(socket.descriptor(), address.ai_addr, address.ai_addrlen) == 0) return socket;
  if (errno != EINPROGRESS || !Limit(seconds).wait(socket.descriptor(), POLLOUT)) return {};
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? std::move(socket) : Socket();
}

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    close();
    descriptor_ = other.release();
  }
  return *this;
}

int Socket::release() {
  return std::exchange(descriptor_, -1);
}

void Socket::close() {
  if (descriptor_ >= 0) ::close(release());
}

Socket Socket::listen(int port) {
  // IPv6 with mapped IPv4 addresses, or IPv4 where the machine has no IPv6.
  for (const int family : {AF_INET6, AF_INET}) {
    Socket socket(::socket(family, SOCK_STREAM, 0));
    if (!socket.is_open()) continue;
    const int on = 1, off = 0;
    ::setsockopt(socket.descriptor(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in6 six = {};
    sockaddr_in four = {};
    six.sin6_family = AF_INET6;
    six.sin6_port = four.sin_port = htons(static_cast<uint16_t>(port));
    four.sin_family = AF_INET;
    if (family == AF_INET6) ::setsockopt(socket.descriptor(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    const auto* address = family == AF_INET6 ? reinterpret_cast<const sockaddr*>(&six)
                                             : reinterpret_cast<const sockaddr*>(&four);
    const socklen_t size = family == AF_INET6 ? sizeof six : sizeof four;
    if (::bind(socket.descriptor(), address, size) != 0 || ::listen(socket.descriptor(), 1024) != 0) continue;
    prepare(socket.descriptor());
    return socket;
  }
  return {};
}

int Socket::port() const {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

Socket Socket::accept(double seconds) const {
  if (!Limit(seconds).wait(descriptor_, POLLIN)) return {};
  Socket socket(::accept(descriptor_, nullptr, nullptr));
  if (socket.is_open()) prepare(socket.descriptor());
  return socket;
}

std::string Socket::peer_address() const {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getpeername(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  return numeric(reinterpret_cast<const sockaddr*>(&address), size);
}

bool Socket::is_readable(double seconds) const {
  return Limit(seconds).wait(descriptor_, POLLIN);
}

bool Socket::is_lost() const {
  char byte = 0;
  const ssize_t result = ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return result == 0 || (result < 0 && errno != EAGAIN && errno != EINTR);
}

Socket Socket::connect(const std::string& host, int port, double seconds) {
  const Lookup all(host, port);
  for (const addrinfo* one = all.first(); one != nullptr; one = one->ai_next) {
    Socket socket = connect_to(*one, seconds);
    if (socket.is_open()) return socket;
  }
  return {};
}

bool Socket::send_all(std::span<const std::byte> bytes, double seconds) const {
  const Limit limit(seconds);
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes = bytes.subspan(static_cast<size_t>(sent));
    } else if (errno == EAGAIN || errno == EINTR) {
      if (!limit.wait(descriptor_, POLLOUT)) return false;
    } else {
      return false;
    }
  }
  return true;
}

bool Socket::receive_all(std::span<std::byte> bytes, double seconds) const {
  const Limit limit(seconds);
  while (!bytes.empty()) {
    const ssize_t received = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
    if (received > 0) {
      bytes = bytes.subspan(static_cast<size_t>(received));
    } else if (received < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (!limit.wait(descriptor_, POLLIN)) return false;
    } else {
      return false;
    }
  }
  return true;
}

std::vector<std::string> own_addresses() {
  ifaddrs* found = nullptr;
  std::vector<std::string> addresses;
  if (::getifaddrs(&found) != 0) return addresses;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> all(found, &::freeifaddrs);
  for (const ifaddrs* one = all.get(); one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_UP) == 0 || (one->ifa_flags & IFF_LOOPBACK) != 0)
      continue;
    const int family = one->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    addresses.push_back(
        numeric(one->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)));
  }
  return addresses;
}

std::string own_host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

std::string why_unknown(const std::string& host) {
  return Lookup(host, 0).error();
}

}  // namespace gorgon
