#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "kernels/ranks/socket.h"

namespace gorgon {

// What ranks say beside their data: messages of a kind and a text, behind their length.
struct Frame {
  char kind = 0;
  std::string text;
};

// False where the socket is lost or did not take it within `seconds`.
bool send_frame(const Socket& socket, char kind, const std::string& text, double seconds);
// Nothing where nothing whole came within `seconds`.
std::optional<Frame> receive_frame(const Socket& socket, double seconds);
// Takes the first whole one off what was read.
std::optional<Frame> take_frame(std::string& unread);

// Fields of one message, a line each; a field of several lines becomes one.
std::vector<std::string> lines_of(const std::string& text);
std::string as_line(std::string field);

}  // namespace gorgon
