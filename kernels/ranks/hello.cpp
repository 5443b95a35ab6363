#include "kernels/ranks/hello.h"

#include <cstdlib>

#include "kernels/ranks/frame.h"

namespace gorgon {
namespace {

constexpr double kSecondsOfHello = 10;
constexpr size_t kFields = 7, kPeerLines = 5;
constexpr std::string_view kAnyProtocol = "gorgon ranks ";

std::string text_of(const Peer& peer) {
  return as_line(peer.host) + as_line(peer.address) + as_line(std::to_string(peer.port)) +
         as_line(std::to_string(peer.local_rank)) + as_line(to_text(peer.cores));
}

Peer peer_of(const std::vector<std::string>& lines, size_t at) {
  return {lines[at], lines[at + 1], std::atoi(lines[at + 2].c_str()), std::atoi(lines[at + 3].c_str()),
          core_share_of(lines[at + 4])};
}

std::optional<Hello> hello_of(const std::vector<std::string>& lines) {
  Hello hello;
  if (lines.empty() || !lines[0].starts_with(kAnyProtocol)) return std::nullopt;
  hello.protocol = lines[0];
  if (hello.protocol != kProtocol) return hello;
  if (lines.size() != kFields + kPeerLines) return std::nullopt;
  hello.token = lines[1];
  hello.job = lines[2];
  hello.job_is_named = lines[3] == "1";
  hello.declines = lines[4];
  hello.size = std::atoi(lines[5].c_str());
  hello.rank = std::atoi(lines[6].c_str());
  hello.peer = peer_of(lines, kFields);
  return hello;
}

}  // namespace

std::string text_of(const Hello& hello) {
  return as_line(kProtocol) + as_line(hello.token) + as_line(hello.job) +
         as_line(hello.job_is_named ? "1" : "0") + as_line(hello.declines) +
         as_line(std::to_string(hello.size)) + as_line(std::to_string(hello.rank)) + text_of(hello.peer);
}

std::optional<Hello> receive_hello(const Socket& socket, const std::string& token, char kind) {
  const std::optional<Frame> frame = receive_frame(socket, kSecondsOfHello);
  if (!frame || frame->kind != kind) return std::nullopt;
  std::optional<Hello> hello = hello_of(lines_of(frame->text));
  if (!hello || hello->token != token || socket.is_lost()) return std::nullopt;
  hello->peer.address = socket.peer_address();
  return hello;
}

std::string table_of(const std::vector<Peer>& peers) {
  std::string table;
  for (const Peer& peer : peers) table += text_of(peer);
  return table;
}

std::vector<Peer> peers_of_table(const std::string& text, int size) {
  const std::vector<std::string> lines = lines_of(text);
  require(lines.size() == kPeerLines * static_cast<size_t>(size), "meet", "a line for every rank");
  std::vector<Peer> peers;
  for (size_t at = 0; at < lines.size(); at += kPeerLines) peers.push_back(peer_of(lines, at));
  return peers;
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

}  // namespace gorgon
