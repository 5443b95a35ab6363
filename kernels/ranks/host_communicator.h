#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "kernels/communicator.h"
#include "kernels/ranks/peer_watch.h"
#include "kernels/ranks/transport.h"

namespace gorgon {

// Collectives over host memory. A thread of its own takes them one after the other, so that sums are taken
// and bytes travel while the caller computes. Every rank sends to every other one directly and adds up its
// part of the values in the order of ranks: results depend on the number of ranks alone.
class HostCommunicator final : public Communicator {
 public:
  // Both must outlive it.
  HostCommunicator(int rank, int size, Transport& transport, PeerWatch& watch);
  ~HostCommunicator() override;

  Pending all_reduce(View values, ReduceOp op, std::string_view what, const Stream& stream) override;
  Pending all_gather_v(ConstView mine, View all, const std::vector<int64_t>& counts, std::string_view what,
                       const Stream& stream) override;
  Pending reduce_scatter_v(ConstView values, View mine, const std::vector<int64_t>& counts,
                           std::string_view what, const Stream& stream) override;
  Pending broadcast(View values, int root, std::string_view what, const Stream& stream) override;
  void barrier(std::string_view what) override;
  void abort() noexcept override;

 private:
  struct Job {
    std::string name;
    std::packaged_task<void()> work;
  };
  Pending submit(std::string name, std::function<void()> work);
  void work();
  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in);
  // mine = the reduction of every rank's [begin, end) of values, elements of rank r between bounds[r] and
  // bounds[r + 1] (of `type`; bounds [n + 1]); mine may be its place in values.
  void reduce_part(const std::byte* values, std::byte* mine, DType type, ReduceOp op,
                   const std::vector<int64_t>& begin, const std::vector<int64_t>& end);
  void gather(const std::byte* mine, std::byte* all, DType type, const std::vector<int64_t>& counts);

  Transport& transport_;
  PeerWatch& watch_;
  std::vector<std::byte> received_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool stopping_ = false;
  std::exception_ptr failure_;  // the first one; the thread's own
  std::atomic<bool> aborted_{false};
  std::thread thread_;
};

}  // namespace gorgon
