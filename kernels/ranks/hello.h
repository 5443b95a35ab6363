#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/ranks/meeting.h"
#include "kernels/ranks/socket.h"

namespace gorgon {

// What ranks say when they meet (meeting.cpp), as frames (frame.h). A rank's first word to rank 0, or to a
// rank 0 that could not listen at its port; and rank 0's answers: heard, now wait; who is there; go, and say
// why; go, it has been said.
constexpr char kHello = 'H', kAskAside = 'A';
constexpr char kHeard = 'K', kTable = 'T', kRefused = 'R', kOver = 'O';
constexpr const char* kProtocol = "gorgon ranks 3";

struct Hello {
  std::string protocol;  // where it is not kProtocol nothing else is known but the address
  std::string token, job;
  bool job_is_named = false;  // MeetingPoint's
  std::string declines;       // why the rank will not come; empty = it has come
  int size = 0, rank = 0;
  Peer peer;
};

std::string text_of(const Hello& hello);
// The rank's own word of this kind. Nothing where it is not a rank's word, where the rank has gone again, or
// does not know the token.
std::optional<Hello> receive_hello(const Socket& socket, const std::string& token, char kind);

// All ranks, in their order.
std::string table_of(const std::vector<Peer>& peers);
// Error(internal) where it is not one of `size`.
std::vector<Peer> peers_of_table(const std::string& text, int size);

std::string name_of(int rank, const Peer& peer);  // "rank 1 on HOST"
std::string line_of(const ErrorParts& parts);     // what Error(peer) would say

}  // namespace gorgon
