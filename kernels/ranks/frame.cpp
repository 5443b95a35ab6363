#include "kernels/ranks/frame.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

namespace gorgon {
namespace {

constexpr size_t kHeader = 5;
constexpr size_t kMaxText = 1 << 20;

// Where a header lies at the front of `bytes`.
size_t text_size(const std::string& bytes) {
  uint32_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof size);
  return size;
}

}  // namespace

bool send_frame(const Socket& socket, char kind, const std::string& text, double seconds) {
  const auto size = static_cast<uint32_t>(text.size());
  std::string frame(kHeader, '\0');
  std::memcpy(frame.data(), &size, sizeof size);
  frame[kHeader - 1] = kind;
  frame += text;
  return socket.send_all(std::as_bytes(std::span(frame)), seconds);
}

std::optional<Frame> receive_frame(const Socket& socket, double seconds) {
  std::string header(kHeader, '\0');
  if (!socket.receive_all(std::as_writable_bytes(std::span(header)), seconds)) return std::nullopt;
  const size_t size = text_size(header);
  if (size > kMaxText) return std::nullopt;
  std::string text(size, '\0');
  if (!socket.receive_all(std::as_writable_bytes(std::span(text)), seconds)) return std::nullopt;
  return Frame{header[kHeader - 1], std::move(text)};
}

std::optional<Frame> take_frame(std::string& unread) {
  if (unread.size() < kHeader) return std::nullopt;
  const size_t size = text_size(unread);
  if (size > kMaxText || unread.size() < kHeader + size) return std::nullopt;
  Frame frame{unread[kHeader - 1], unread.substr(kHeader, size)};
  unread.erase(0, kHeader + size);
  return frame;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::string as_line(std::string field) {
  std::replace(field.begin(), field.end(), '\n', ' ');
  return field + "\n";
}

}  // namespace gorgon
