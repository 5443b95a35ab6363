#pragma once

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"

namespace gorgon {

enum class ReduceOp : uint8_t { sum, max };

// A collective under way. wait() returns when its results can be used by the stream it was called with and
// rethrows what went wrong. Views handed over must live, and must not be touched, until then; the destructor
// waits too.
class Pending {
 public:
  Pending() = default;  // of something that is done
  // waited: what wait() adds the seconds to that it takes.
  Pending(std::future<void> done, std::atomic<double>& waited) : done_(std::move(done)), waited_(&waited) {}
  ~Pending() {
    if (done_.valid()) done_.wait();
  }
  Pending(Pending&& other) noexcept = default;
  Pending& operator=(Pending&& other) noexcept {
    std::swap(done_, other.done_);
    std::swap(waited_, other.waited_);
    return *this;
  }
  void wait();

 private:
  std::future<void> done_;
  std::atomic<double>* waited_ = nullptr;
};

// The processes of a job, and what they compute together. Every rank calls the same collectives with the same
// sizes in the same order; they run in that order, beside the caller. Views are contiguous and lie on the
// device the communicator was made for.
//
// One process: nothing is sent, inputs are copied to outputs.
// On CPUs (host_communicator.h): over MPI or TCP, and results do not depend on which: sums are taken in the
// order of ranks, of bf16 in f32 and of f32 in f64, and rounded once, so that all ranks hold the same bits.
// On GPUs (NCCL): in NCCL's own order.
//
// `what` names the values in messages ("gradients of head 3"). Throws Error(peer) naming rank, host, step,
// collective and seconds when another rank is gone, or has not come to the collective within the deadline
// (ddp_timeout).
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // values T[n], in place; T = f32, bf16, i32, i64 or u8. Receives 2 (n-1)/n of its bytes.
  virtual Pending all_reduce(View values, ReduceOp op, std::string_view what, const Stream& stream) = 0;
  // all T[sum counts] = every rank's counts[r] elements in the order of ranks; `mine` may be its place in
  // `all`. Receives the bytes of the other ranks' parts.
  virtual Pending all_gather_v(ConstView mine, View all, const std::vector<int64_t>& counts,
                               std::string_view what, const Stream& stream) = 0;
  // mine T[counts[rank]] = sum over ranks of their part of values T[sum counts]; `mine` may be its place in
  // `values`, whose other parts stay as they are. Receives n - 1 times the bytes of its own part.
  virtual Pending reduce_scatter_v(ConstView values, View mine, const std::vector<int64_t>& counts,
                                   std::string_view what, const Stream& stream) = 0;
  // values of rank `root`, to all. Receives its bytes (not on the root).
  virtual Pending broadcast(View values, int root, std::string_view what, const Stream& stream) = 0;
  virtual void barrier(std::string_view what) = 0;
  // Ends what is under way here with Error(peer); nothing can be called behind it.
  virtual void abort() noexcept = 0;

  int64_t bytes_received() const { return bytes_received_; }  // of payload, since the start
  double seconds_waited() const { return seconds_waited_; }   // by the caller, for what was not done yet

 protected:
  Communicator(int rank, int size) : rank_(rank), size_(size) {}
  const int rank_, size_;
  std::atomic<int64_t> bytes_received_{0};
  std::atomic<double> seconds_waited_{0};
};

// The communicator of a process that works alone.
std::unique_ptr<Communicator> single_communicator();

// Small host values over a communicator of host memory.
std::vector<std::string> gather_texts(Communicator& ranks, const std::string& mine, std::string_view what);
std::string broadcast_text(Communicator& ranks, const std::string& text, std::string_view what);
// values [n], in place; doubles are added in the order of ranks.
void all_reduce(Communicator& ranks, std::vector<int64_t>& values, ReduceOp op, std::string_view what);
void sum_all(Communicator& ranks, std::vector<double>& values, std::string_view what);
// [size * n] every rank's values [n], in the order of ranks.
std::vector<double> gather_all(Communicator& ranks, const std::vector<double>& mine, std::string_view what);

// [n + 1] bounds of n parts of `count` things, as equal as they get: part r is [bounds[r], bounds[r + 1]).
std::vector<int64_t> equal_parts(int64_t count, int n);
// The same with bounds that are multiples of `block`, but for `count` itself.
std::vector<int64_t> block_parts(int64_t count, int64_t block, int n);

}  // namespace gorgon
