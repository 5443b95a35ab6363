#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gorgon {

// How bytes get from rank to rank: MPI, or TCP where ranks were not started by MPI. One thread at a time.
struct Outgoing {
  int peer;
  const std::byte* data;
  int64_t bytes;
};
struct Incoming {
  int peer;
  std::byte* data;
  int64_t bytes;
};

// Called again and again while an exchange waits, with a rank that it waits for; ends the wait by throwing.
using WhileWaiting = std::function<void(int peer)>;

class Transport {
 public:
  virtual ~Transport() = default;
  // Sends and receives at once, complete when it returns. Messages between two ranks arrive in the order in
  // which they are sent; both sides know their sizes. A connection that breaks is waited for like a silent
  // one: who is gone is the watch's to say (peer_watch.h).
  virtual void exchange(std::span<const Outgoing> out, std::span<const Incoming> in,
                        const WhileWaiting& waiting) = 0;
};

// One process' place in a job that MPI started. Blocking until all processes have come.
class MpiJob {
 public:
  virtual ~MpiJob() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string broadcast(const std::string& text) = 0;  // rank 0's
  virtual std::unique_ptr<Transport> transport() = 0;
  virtual void finish() = 0;  // MPI_Finalize; a rank that fails leaves it out, since it would wait for others
};
// mpi_job.cpp, or no_mpi.cpp: Error(peer) that names the other ways to start ranks.
std::unique_ptr<MpiJob> join_mpi_job();

}  // namespace gorgon
