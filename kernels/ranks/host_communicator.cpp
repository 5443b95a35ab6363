#include "kernels/ranks/host_communicator.h"

#include <algorithm>
#include <cstring>

#include "kernels/error.h"
#include "kernels/ranks/reduction.h"

namespace gorgon {
namespace {

// Values are reduced a piece at a time, so that the parts received from the other ranks stay in the cache.
constexpr int64_t kPieceBytes = 4 << 20;
constexpr double kFirstWord = 1;            // seconds
constexpr int64_t kDirectBytes = 64 << 10;  // smaller broadcasts go straight from the root

double seconds_between(std::chrono::steady_clock::time_point a, std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

std::vector<int64_t> sums_of(const std::vector<int64_t>& counts) {
  std::vector<int64_t> bounds{0};
  for (const int64_t count : counts) bounds.push_back(bounds.back() + count);
  return bounds;
}

void check(ConstView view, std::string_view what) {
  require(view.device.kind == DeviceKind::cpu && view.contiguous(), "HostCommunicator", "a view of the host");
  require(!is_block_quantised(view.type), what, "values of a plain type");
}

}  // namespace

HostCommunicator::HostCommunicator(int rank, int size, Transport& transport, PeerWatch& watch)
    : Communicator(rank, size), transport_(transport), watch_(watch), thread_([this] { work(); }) {}

HostCommunicator::~HostCommunicator() {
  abort();
  thread_.join();
}

void HostCommunicator::abort() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  aborted_ = true;
  changed_.notify_all();
}

Pending HostCommunicator::submit(std::string name, std::function<void()> work) {
  std::packaged_task<void()> task([this, work = std::move(work)] {
    try {
      work();
    } catch (...) {
      // Those behind it would wait in vain, and tell the same: nobody may be waiting for this one.
      if (!failure_) failure_ = std::current_exception();
      aborted_ = true;
      throw;
    }
  });
  Pending pending(task.get_future(), seconds_waited_);
  {
    const std::lock_guard lock(mutex_);
    require(!stopping_, "HostCommunicator", "a collective behind abort");
    jobs_.push_back({std::move(name), std::move(task)});
  }
  changed_.notify_all();
  return pending;
}

void HostCommunicator::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) {
      jobs_.clear();  // who waits for one of them learns that it will not be done
      return;
    }
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    if (watch_.is_ending()) {  // no rank goes on with what this one has
      changed_.wait(lock, [this] { return stopping_; });
      return;
    }
    lock.unlock();
    const int64_t id = watch_.begin(job.name);
    job.work();
    watch_.end(id);
  }
}

void HostCommunicator::exchange(std::span<const Outgoing> out, std::span<const Incoming> in) {
  if (failure_) std::rethrow_exception(failure_);
  if (aborted_) throw Error(ExitCode::peer, "the collectives were aborted");
  const auto start = std::chrono::steady_clock::now();
  transport_.exchange(out, in, [&](int peer) {
    const double waited = seconds_between(start, std::chrono::steady_clock::now());
    if (aborted_) throw Error(ExitCode::peer, "the collectives were aborted");
    // Rank 0 hears all ranks and knows who is silent: it speaks first, and the others by themselves only
    // where it does not.
    if (waited <= watch_.patience() + (rank_ == 0 ? 0 : kFirstWord)) return;
    throw Error(ExitCode::peer, watch_.line(watch_.missing(peer), "nothing from it (ddp_timeout)"));
  });
  for (const Incoming& message : in) bytes_received_ += message.bytes;
}

void HostCommunicator::reduce_part(const std::byte* values, std::byte* mine, DType type, ReduceOp op,
                                   const std::vector<int64_t>& begin, const std::vector<int64_t>& end) {
  const int64_t element = bytes_of(type, 1);
  const auto bytes = [&](int r) {
    return (end[static_cast<size_t>(r)] - begin[static_cast<size_t>(r)]) * element;
  };
  const int64_t own = bytes(rank_);
  received_.resize(std::max(received_.size(), static_cast<size_t>(own * size_)));
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  std::vector<const std::byte*> parts;
  for (int r = 0; r < size_; ++r) {
    const std::byte* part = values + begin[static_cast<size_t>(r)] * element;
    std::byte* place = received_.data() + r * own;
    parts.push_back(r == rank_ ? part : place);
    if (r == rank_) continue;
    out.push_back({r, part, bytes(r)});
    in.push_back({r, place, own});
  }
  exchange(out, in);
  reduce_parts(parts, mine, type, own / element, op);
}

void HostCommunicator::gather(const std::byte* mine, std::byte* all, DType type,
                              const std::vector<int64_t>& counts) {
  const int64_t element = bytes_of(type, 1);
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  std::byte* place = all;
  for (int r = 0; r < size_; ++r) {
    const int64_t bytes = counts[static_cast<size_t>(r)] * element;
    if (r != rank_) {
      out.push_back({r, mine, counts[static_cast<size_t>(rank_)] * element});
      in.push_back({r, place, bytes});
    } else if (place != mine && bytes > 0) {
      std::memmove(place, mine, static_cast<size_t>(bytes));
    }
    place += bytes;
  }
  exchange(out, in);
}

Pending HostCommunicator::all_reduce(View values, ReduceOp op, std::string_view what, const Stream&) {
  check(values, what);
  return submit("all_reduce of " + std::string(what), [this, values, op] {
    const int64_t element = bytes_of(values.type, 1), piece = kPieceBytes / element;
    for (int64_t begin = 0; begin < values.elements(); begin += piece) {
      std::byte* at = values.data + begin * element;
      const std::vector<int64_t> part = equal_parts(std::min(piece, values.elements() - begin), size_);
      const std::vector<int64_t> ends(part.begin() + 1, part.end());
      reduce_part(at, at + part[static_cast<size_t>(rank_)] * element, values.type, op, part, ends);
      std::vector<int64_t> counts;
      for (size_t r = 0; r + 1 < part.size(); ++r) counts.push_back(part[r + 1] - part[r]);
      gather(at + part[static_cast<size_t>(rank_)] * element, at, values.type, counts);
    }
  });
}

Pending HostCommunicator::all_gather_v(ConstView mine, View all, const std::vector<int64_t>& counts,
                                       std::string_view what, const Stream&) {
  check(mine, what);
  check(all, what);
  require(std::ssize(counts) == size_ && mine.elements() == counts[static_cast<size_t>(rank_)] &&
              all.elements() == sums_of(counts).back() && mine.type == all.type,
          "all_gather_v", "counts");
  return submit("all_gather of " + std::string(what),
                [this, mine, all, counts] { gather(mine.data, all.data, all.type, counts); });
}

Pending HostCommunicator::reduce_scatter_v(ConstView values, View mine, const std::vector<int64_t>& counts,
                                           std::string_view what, const Stream&) {
  check(values, what);
  check(mine, what);
  const std::vector<int64_t> bounds = sums_of(counts);
  require(std::ssize(counts) == size_ && mine.elements() == counts[static_cast<size_t>(rank_)] &&
              values.elements() == bounds.back() && mine.type == values.type,
          "reduce_scatter_v", "counts");
  return submit("reduce_scatter of " + std::string(what), [this, values, mine, bounds, counts] {
    const int64_t element = bytes_of(values.type, 1), piece = kPieceBytes / element / size_;
    const int64_t longest = *std::max_element(counts.begin(), counts.end());
    for (int64_t at = 0; at < longest; at += piece) {
      std::vector<int64_t> begin, end;
      for (size_t r = 0; r < counts.size(); ++r) {
        begin.push_back(bounds[r] + std::min(at, counts[r]));
        end.push_back(bounds[r] + std::min(at + piece, counts[r]));
      }
      const int64_t own = begin[static_cast<size_t>(rank_)] - bounds[static_cast<size_t>(rank_)];
      reduce_part(values.data, mine.data + own * element, mine.type, ReduceOp::sum, begin, end);
    }
  });
}

// Large values leave the root once: each rank gets a part and passes it on.
Pending HostCommunicator::broadcast(View values, int root, std::string_view what, const Stream&) {
  check(values, what);
  return submit("broadcast of " + std::string(what), [this, values, root] {
    const int64_t total = bytes_of(values.type, values.elements());
    const std::vector<int64_t> part = equal_parts(total, size_);
    const bool direct = total <= kDirectBytes;
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    for (int r = 0; r < size_ && rank_ == root; ++r) {
      const auto i = static_cast<size_t>(r);
      if (r == root) continue;
      out.push_back(
          {r, direct ? values.data : values.data + part[i], direct ? total : part[i + 1] - part[i]});
    }
    const auto own = static_cast<size_t>(rank_);
    if (rank_ != root) {
      in.push_back(
          {root, direct ? values.data : values.data + part[own], direct ? total : part[own + 1] - part[own]});
    }
    exchange(out, in);
    if (direct) return;
    out.clear();
    in.clear();
    for (int r = 0; r < size_; ++r) {
      const auto i = static_cast<size_t>(r);
      if (r == rank_) continue;
      if (r != root) out.push_back({r, values.data + part[own], part[own + 1] - part[own]});
      if (rank_ != root) in.push_back({r, values.data + part[i], part[i + 1] - part[i]});
    }
    exchange(out, in);
  });
}

void HostCommunicator::barrier(std::string_view what) {
  submit("barrier at " + std::string(what), [this] {
    std::vector<std::byte> here(static_cast<size_t>(size_));
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      out.push_back({r, &here[static_cast<size_t>(rank_)], 1});
      in.push_back({r, &here[static_cast<size_t>(r)], 1});
    }
    exchange(out, in);
  }).wait();
}

}  // namespace gorgon
