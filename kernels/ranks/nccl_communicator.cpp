#include "kernels/ranks/nccl_communicator.h"

#include <future>
#include <numeric>

#include "kernels/error.h"

namespace gorgon {
namespace {

constexpr int kInProgress = 7;  // ncclInProgress

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

int64_t total(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

}  // namespace

NcclCommunicator::NcclCommunicator(const NcclApi& api, Communicator& host, Device device)
    : Communicator(host.rank(), host.size()), api_(api), host_(host), device_(device), queue_(device) {
  NcclId id{};
  if (rank_ == 0) check(api_.get_unique_id(&id), "its id");
  const std::string text = broadcast_text(host, std::string(id.bytes, sizeof id.bytes), "the id of NCCL");
  text.copy(id.bytes, sizeof id.bytes);
  check(api_.comm_init_rank(&comm_, size_, id, rank_), "the start");
}

NcclCommunicator::~NcclCommunicator() {
  if (comm_ != nullptr) api_.comm_destroy(comm_);
}

void NcclCommunicator::abort() noexcept {
  if (comm_ != nullptr) api_.comm_abort(comm_);
  comm_ = nullptr;
}

void NcclCommunicator::check(int result, const std::string& what) const {
  if (result == 0 || result == kInProgress) return;
  fail(ExitCode::peer, {"rank " + std::to_string(rank_), "NCCL, " + what, "success",
                        api_.get_error_string(result), "NCCL_DEBUG=INFO tells more"});
}

// The stream waits behind what is in the queue now, when the caller waits.
Pending NcclCommunicator::finish(std::string what, const Stream& stream) {
  auto mark = std::make_shared<SideQueue::Mark>(queue_);
  return {std::async(std::launch::deferred,
                     [this, mark, what = std::move(what), &stream] {
                       int result = 0;
                       if (comm_ != nullptr) check(api_.comm_get_async_error(comm_, &result), what);
                       check(result, what);
                       mark->hold(stream);
                     }),
          seconds_waited_};
}

Pending NcclCommunicator::all_reduce(View values, ReduceOp op, std::string_view what, const Stream& stream) {
  check_view(values, device_);
  const std::string called = "all_reduce of " + std::string(what);
  queue_.follow(stream);
  if (values.elements() > 0) {
    const NcclOp wanted = op == ReduceOp::sum ? NcclOp::sum : NcclOp::max;
    check(api_.all_reduce(values.data, values.data, static_cast<size_t>(values.elements()),
                          type_of(values.type, what), static_cast<int>(wanted), comm_, queue_.native()),
          called);
  }
  bytes_received_ += 2 * (size_ - 1) * bytes_of(values.type, values.elements()) / size_;
  return finish(called, stream);
}

// NCCL's own gather takes equal parts: one broadcast of every rank's part, in one group.
Pending NcclCommunicator::all_gather_v(ConstView mine, View all, const std::vector<int64_t>& counts,
                                       std::string_view what, const Stream& stream) {
  check_view(mine, device_);
  check_view(all, device_);
  require(std::ssize(counts) == size_ && mine.elements() == counts[static_cast<size_t>(rank_)] &&
              all.elements() == total(counts) && mine.type == all.type,
          "NcclCommunicator", "counts of all_gather_v");
  const std::string called = "all_gather of " + std::string(what);
  queue_.follow(stream);
  check(api_.group_start(), called);
  std::byte* place = all.data;
  for (int r = 0; r < size_; ++r) {
    const int64_t count = counts[static_cast<size_t>(r)];
    if (count > 0) {
      check(api_.broadcast(r == rank_ ? mine.data : place, place, static_cast<size_t>(count),
                           type_of(all.type, what), r, comm_, queue_.native()),
            called);
    }
    place += bytes_of(all.type, count);
  }
  check(api_.group_end(), called);
  bytes_received_ += bytes_of(all.type, all.elements() - mine.elements());
  return finish(called, stream);
}

Pending NcclCommunicator::reduce_scatter_v(ConstView values, View mine, const std::vector<int64_t>& counts,
                                           std::string_view what, const Stream& stream) {
  check_view(values, device_);
  check_view(mine, device_);
  require(std::ssize(counts) == size_ && mine.elements() == counts[static_cast<size_t>(rank_)] &&
              values.elements() == total(counts) && mine.type == values.type,
          "NcclCommunicator", "counts of reduce_scatter_v");
  const std::string called = "reduce_scatter of " + std::string(what);
  queue_.follow(stream);
  check(api_.group_start(), called);
  const std::byte* part = values.data;
  for (int r = 0; r < size_; ++r) {
    const int64_t count = counts[static_cast<size_t>(r)];
    if (count > 0) {
      check(api_.reduce(part, mine.data, static_cast<size_t>(count), type_of(values.type, what),
                        static_cast<int>(NcclOp::sum), r, comm_, queue_.native()),
            called);
    }
    part += bytes_of(values.type, count);
  }
  check(api_.group_end(), called);
  bytes_received_ += (size_ - 1) * bytes_of(mine.type, mine.elements());
  return finish(called, stream);
}

Pending NcclCommunicator::broadcast(View values, int root, std::string_view what, const Stream& stream) {
  check_view(values, device_);
  const std::string called = "broadcast of " + std::string(what);
  queue_.follow(stream);
  if (values.elements() > 0) {
    check(api_.broadcast(values.data, values.data, static_cast<size_t>(values.elements()),
                         type_of(values.type, what), root, comm_, queue_.native()),
          called);
  }
  if (rank_ != root) bytes_received_ += bytes_of(values.type, values.elements());
  return finish(called, stream);
}

void NcclCommunicator::barrier(std::string_view what) {
  host_.barrier(what);
}

}  // namespace gorgon
