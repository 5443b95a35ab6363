#include "kernels/ranks/nccl_communicator.h"

#include <algorithm>
#include <functional>
#include <future>
#include <numeric>

#include "kernels/error.h"

namespace gorgon {
namespace {

int type_of(DType type, std::string_view what) {
  switch (type) {
    case DType::u8:
      return static_cast<int>(NcclType::u8);
    case DType::i32:
      return static_cast<int>(NcclType::i32);
    case DType::i64:
      return static_cast<int>(NcclType::i64);
    case DType::f32:
      return static_cast<int>(NcclType::f32);
    case DType::bf16:
      return static_cast<int>(NcclType::bf16);
    default:
      fail_internal("NcclCommunicator", std::string(what) + " of type " + std::string(name(type)));
  }
}

void check_view(ConstView view, Device device) {
  require((view.device == device || view.elements() == 0) && view.contiguous(), "NcclCommunicator",
          "a contiguous view of the rank's GPU");
}

bool are_equal(const std::vector<int64_t>& counts) {
  return std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end();
}

int64_t total(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

}  // namespace

NcclCommunicator::NcclCommunicator(const NcclApi& api, Communicator& host, PeerWatch& watch, Device device)
    : Communicator(host.rank(), host.size()),
      api_(api),
      host_(host),
      device_(device),
      queue_(device),
      group_(api, watch, id_of_job(), rank_, size_) {}

NcclId NcclCommunicator::id_of_job() {
  NcclId id{};
  const int result = rank_ == 0 ? api_.get_unique_id(&id) : kNcclSuccess;
  if (result != kNcclSuccess) {
    fail(ExitCode::peer, {"rank 0", "NCCL", "an id for the ranks to meet by", api_.get_error_string(result),
                          "NCCL_DEBUG=INFO tells more"});
  }
  broadcast_text(host_, std::string(id.bytes, sizeof id.bytes), "the id of NCCL")
      .copy(id.bytes, sizeof id.bytes);
  return id;
}

void NcclCommunicator::finish() {
  queue_.synchronize();
}

void NcclCommunicator::abort() noexcept {
  group_.abort();
}

// The stream waits behind what is in the queue now, when the caller waits.
Pending NcclCommunicator::submit(const std::string& name, const Stream& stream,
                                 const NcclGroup::Calls& calls) {
  queue_.follow(stream);
  const std::shared_ptr<SideQueue::Mark> mark = group_.submit(name, queue_, calls);
  const auto wait = [this, mark, &stream] {
    holds_.hold(*mark, stream);
    seconds_waited_ = seconds_waited_ + holds_.take();
  };
  return {std::async(std::launch::deferred, wait), seconds_waited_};
}

int NcclCommunicator::for_parts(DType type, const std::vector<int64_t>& counts, const PartCall& call) {
  int first = api_.group_start();
  int64_t begin = 0;
  for (int r = 0; r < size_; ++r) {
    const int64_t count = counts[static_cast<size_t>(r)];
    const int result = count > 0 ? call(begin, static_cast<size_t>(count), r) : kNcclSuccess;
    if (first == kNcclSuccess || first == kNcclInProgress) first = result;
    begin += bytes_of(type, count);
  }
  const int last = api_.group_end();
  return first == kNcclSuccess || first == kNcclInProgress ? last : first;
}

Pending NcclCommunicator::all_reduce(View values, ReduceOp op, std::string_view what, const Stream& stream) {
  check_view(values, device_);
  bytes_received_ += 2 * (size_ - 1) * bytes_of(values.type, values.elements()) / size_;
  const int type = type_of(values.type, what);
  const NcclOp wanted = op == ReduceOp::sum ? NcclOp::sum : NcclOp::max;
  if (values.elements() == 0) return {};
  return submit("all_reduce of " + std::string(what), stream, [&](void* comm) {
    return api_.all_reduce(values.data, values.data, static_cast<size_t>(values.elements()), type,
                           static_cast<int>(wanted), comm, queue_.native());
  });
}

// NCCL's own gather takes equal parts; of others one broadcast of every rank's part, in one group.
Pending NcclCommunicator::all_gather_v(ConstView mine, View all, const std::vector<int64_t>& counts,
                                       std::string_view what, const Stream& stream) {
  check_view(mine, device_);
  check_view(all, device_);
  require(std::ssize(counts) == size_ && mine.elements() == counts[static_cast<size_t>(rank_)] &&
              all.elements() == total(counts) && mine.type == all.type,
          "NcclCommunicator", "counts of all_gather_v");
  bytes_received_ += bytes_of(all.type, all.elements() - mine.elements());
  const int type = type_of(all.type, what);
  if (all.elements() == 0) return {};
  return submit("all_gather of " + std::string(what), stream, [&](void* comm) {
    if (are_equal(counts)) {
      return api_.all_gather(mine.data, all.data, static_cast<size_t>(counts[0]), type, comm,
                             queue_.native());
    }
    return for_parts(all.type, counts, [&](int64_t begin, size_t count, int r) {
      std::byte* place = all.data + begin;
      return api_.broadcast(r == rank_ ? mine.data : place, place, count, type, r, comm, queue_.native());
    });
  });
}

Pending NcclCommunicator::reduce_scatter_v(ConstView values, View mine, const std::vector<int64_t>& counts,
                                           std::string_view what, const Stream& stream) {
  check_view(values, device_);
  check_view(mine, device_);
  require(std::ssize(counts) == size_ && mine.elements() == counts[static_cast<size_t>(rank_)] &&
              values.elements() == total(counts) && mine.type == values.type,
          "NcclCommunicator", "counts of reduce_scatter_v");
  bytes_received_ += (size_ - 1) * bytes_of(mine.type, mine.elements());
  const int type = type_of(values.type, what);
  if (values.elements() == 0) return {};
  return submit("reduce_scatter of " + std::string(what), stream, [&](void* comm) {
    if (are_equal(counts)) {
      return api_.reduce_scatter(values.data, mine.data, static_cast<size_t>(counts[0]), type,
                                 static_cast<int>(NcclOp::sum), comm, queue_.native());
    }
    return for_parts(values.type, counts, [&](int64_t begin, size_t count, int r) {
      return api_.reduce(values.data + begin, mine.data, count, type, static_cast<int>(NcclOp::sum), r, comm,
                         queue_.native());
    });
  });
}

Pending NcclCommunicator::broadcast(View values, int root, std::string_view what, const Stream& stream) {
  check_view(values, device_);
  if (rank_ != root) bytes_received_ += bytes_of(values.type, values.elements());
  const int type = type_of(values.type, what);
  if (values.elements() == 0) return {};
  return submit("broadcast of " + std::string(what), stream, [&](void* comm) {
    return api_.broadcast(values.data, values.data, static_cast<size_t>(values.elements()), type, root, comm,
                          queue_.native());
  });
}

void NcclCommunicator::barrier(std::string_view what) {
  host_.barrier(what);
}

}  // namespace gorgon
