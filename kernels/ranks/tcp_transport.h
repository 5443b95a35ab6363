#pragma once

#include <memory>
#include <vector>

#include "kernels/ranks/peer_watch.h"
#include "kernels/ranks/socket.h"
#include "kernels/ranks/transport.h"

namespace gorgon {

// A TCP connection between every two ranks; a lower rank accepts from a higher one. `listener`: where this
// rank accepts, its port is peers[rank].port. Throws Error(peer) when ranks do not reach one another within
// `seconds`.
std::unique_ptr<Transport> connect_tcp_transport(int rank, const std::vector<Peer>& peers,
                                                 const Socket& listener, double seconds);

}  // namespace gorgon
