#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gorgon {

// A TCP socket, closed at the end of its life. Failures are told by the return value: what a lost connection
// means is the caller's to say.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : descriptor_(other.release()) {}
  Socket& operator=(Socket&& other) noexcept;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  int release();
  void close();

  // On all interfaces; port 0 = any that is free. Not open where the port is taken.
  static Socket listen(int port);
  int port() const;  // its own
  // Not open when nobody came within `seconds`.
  Socket accept(double seconds) const;
  std::string peer_address() const;  // numeric
  // Whether there is something to read, or the other side is gone, within `seconds`.
  bool is_readable(double seconds) const;
  bool is_lost() const;  // whether the other side has closed it
  // Not open when it failed within `seconds`.
  static Socket connect(const std::string& host, int port, double seconds);

  // All bytes or false, within `seconds`.
  bool send_all(std::span<const std::byte> bytes, double seconds) const;
  bool receive_all(std::span<std::byte> bytes, double seconds) const;

 private:
  int descriptor_ = -1;
};

// Numeric addresses of this machine's interfaces that are up, loopback left out.
std::vector<std::string> own_addresses();
std::string own_host_name();
// Why a host's name stands for no address ("Name or service not known"); empty where it does.
std::string why_unknown(const std::string& host);

}  // namespace gorgon
