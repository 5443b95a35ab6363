#include "tests/emulation/nccl_stand_in.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/communicator.h"
#include "kernels/dtype.h"
#include "kernels/ranks/nccl_api.h"
#include "kernels/ranks/tcp_transport.h"
#include "tests/emulation/device_memory.h"

namespace gorgon::emulation {
namespace {

namespace fs = std::filesystem;

enum Result : int {  // ncclResult_t
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
};
constexpr int kPolls = 3;        // ncclInProgress, this often
constexpr double kMeeting = 60;  // seconds
constexpr auto kNap = std::chrono::milliseconds(5);

std::atomic<int64_t> received_bytes{0};

struct Aborted {};

// GORGON_NCCL_FAULT
struct Fault {
  std::string kind;
  int64_t collective = 0;  // 0 = none

  static Fault of_rank(int rank) {
    const char* text = std::getenv("GORGON_NCCL_FAULT");
    char kind[8] = "";
    int who = 0;
    long long collective = 0;
    if (text == nullptr || std::sscanf(text, "%7[a-z]:%d:%lld", kind, &who, &collective) != 3 || who != rank)
      return {};
    return {kind, collective};
  }
};

template <typename T, typename A>
void reduce_values(const std::vector<const std::byte*>& parts, std::byte* to, int64_t count, bool sums) {
  for (int64_t i = 0; i < count; ++i) {
    A total{};
    for (size_t r = 0; r < parts.size(); ++r) {
      T value;
      std::memcpy(&value, parts[r] + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
      const A wide = static_cast<A>(value);
      total = r == 0 ? wide : sums ? static_cast<A>(total + wide) : std::max(total, wide);
    }
    const T result = static_cast<T>(total);
    std::memcpy(to + i * static_cast<int64_t>(sizeof(T)), &result, sizeof(T));
  }
}

void reduce_parts(const std::vector<const std::byte*>& parts, std::byte* to, int64_t count, NcclType type,
                  bool sums) {
  switch (type) {
    case NcclType::u8:
      return reduce_values<uint8_t, uint8_t>(parts, to, count, sums);
    case NcclType::i32:
      return reduce_values<int32_t, int32_t>(parts, to, count, sums);
    case NcclType::i64:
      return reduce_values<int64_t, int64_t>(parts, to, count, sums);
    case NcclType::f32:
      return reduce_values<float, float>(parts, to, count, sums);
    case NcclType::bf16:
      return reduce_values<bf16, float>(parts, to, count, sums);
  }
}

int64_t element_bytes(NcclType type) {
  if (type == NcclType::u8) return 1;
  if (type == NcclType::bf16) return 2;
  return type == NcclType::i64 ? 8 : 4;
}

struct Call {
  enum class Kind { all_reduce, all_gather, reduce_scatter, reduce, broadcast } kind;
  const std::byte* from;
  std::byte* to;
  int64_t count;
  NcclType type;
  bool sums;
  int root;
};

// Ranks meet in a folder, which is what the id names: each leaves the port at which it listens.
std::unique_ptr<Transport> meet(const fs::path& folder, int rank, int size) {
  const Socket listener = Socket::listen(0);
  const fs::path own = folder / std::to_string(rank);
  std::ofstream(own.string() + ".new") << listener.port();
  fs::rename(own.string() + ".new", own);
  std::vector<Peer> peers(static_cast<size_t>(size));
  for (int r = 0; r < size; ++r) {
    Peer& peer = peers[static_cast<size_t>(r)];
    peer.address = "127.0.0.1";
    while (!(std::ifstream(folder / std::to_string(r)) >> peer.port)) std::this_thread::sleep_for(kNap);
  }
  auto transport = connect_tcp_transport(rank, peers, listener, kMeeting);
  if (rank == 0) fs::remove_all(folder);
  return transport;
}

class Group : public std::enable_shared_from_this<Group> {
 public:
  Group(int rank, int size) : rank_(rank), size_(size), fault_(Fault::of_rank(rank)) {}

  void start(const fs::path& folder) {
    std::thread([self = shared_from_this(), folder] {
      std::unique_ptr<Transport> transport = meet(folder, self->rank_, self->size_);
      const std::lock_guard lock(self->mutex_);
      self->transport_ = std::move(transport);
    }).detach();
  }

  // What the next poll but some puts into the stream, as one piece of work.
  int submit(std::vector<Call> calls, StreamState* stream) {
    const std::lock_guard lock(mutex_);
    if (transport_ == nullptr || polls_left_ > 0) return kInvalidUsage;
    ++collectives_;
    if (fault_.kind == "call" && fault_.collective == collectives_) return kInternalError;
    calls_ = std::move(calls);
    stream_ = stream;
    polls_left_ = kPolls;
    return kNcclInProgress;
  }

  int poll() {
    const std::lock_guard lock(mutex_);
    if (error_ != 0) return error_;
    if (transport_ == nullptr) return kNcclInProgress;
    if (polls_left_ == 0) return kNcclSuccess;
    if (--polls_left_ > 0) return kNcclInProgress;
    enqueue(stream_, [self = shared_from_this(), calls = std::move(calls_), number = collectives_] {
      self->run(calls, number);
    });
    return kNcclSuccess;
  }

  void abort() { aborted_ = true; }

 private:
  void run(const std::vector<Call>& calls, int64_t number) {
    const KernelAccess access;
    const auto start = std::chrono::steady_clock::now();
    try {
      if (fault_.kind == "async" && fault_.collective == number) {
        error_ = kRemoteError;
        for (;;) check_abort();
      }
      for (const Call& call : calls) run(call);
    } catch (const Aborted&) {  // what is there stays there
    }
    pass(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }

  void run(const Call& call) {
    const int64_t bytes = call.count * element_bytes(call.type);
    if (call.kind == Call::Kind::broadcast) {
      std::vector<Outgoing> out;
      for (int r = 0; r < size_ && rank_ == call.root; ++r) {
        if (r != rank_) out.push_back({r, call.from, bytes});
      }
      if (rank_ != call.root) return exchange({}, {{call.root, call.to, bytes}});
      if (call.from != call.to) std::memmove(call.to, call.from, static_cast<size_t>(bytes));
      return exchange(out, {});
    }
    if (call.kind == Call::Kind::reduce) {
      std::vector<int64_t> bounds(static_cast<size_t>(size_) + 1, 0);
      for (int r = call.root; r < size_; ++r) bounds[static_cast<size_t>(r) + 1] = call.count;
      return reduce_by_parts(call, bounds, call.to);
    }
    if (call.kind == Call::Kind::all_gather) return gather(call);
    if (call.kind == Call::Kind::reduce_scatter)
      return reduce_by_parts(call, equal_parts(call.count * size_, size_), call.to);
    const std::vector<int64_t> bounds = equal_parts(call.count, size_);
    const auto at = [&](int r) { return bounds[static_cast<size_t>(r)] * element_bytes(call.type); };
    reduce_by_parts(call, bounds, call.to + at(rank_));
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      out.push_back({r, call.to + at(rank_), at(rank_ + 1) - at(rank_)});
      in.push_back({r, call.to + at(r), at(r + 1) - at(r)});
    }
    exchange(out, in);
  }

  // In place, or the parts lie apart.
  void gather(const Call& call) {
    const int64_t bytes = call.count * element_bytes(call.type);
    std::byte* place = call.to + rank_ * bytes;
    if (call.from != place) std::memmove(place, call.from, static_cast<size_t>(bytes));
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      out.push_back({r, place, bytes});
      in.push_back({r, call.to + r * bytes, bytes});
    }
    exchange(out, in);
  }

  // to = the reduction of this rank's part; rank r's is [bounds[r], bounds[r + 1]).
  void reduce_by_parts(const Call& call, const std::vector<int64_t>& bounds, std::byte* to) {
    const int64_t element = element_bytes(call.type);
    const auto begin = [&](int r) { return bounds[static_cast<size_t>(r)]; };
    const int64_t own = begin(rank_ + 1) - begin(rank_);
    std::vector<std::byte> arrived(static_cast<size_t>(own * element * size_));
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    std::vector<const std::byte*> parts;
    for (int r = 0; r < size_; ++r) {
      std::byte* place = arrived.data() + r * own * element;
      parts.push_back(r == rank_ ? call.from + begin(rank_) * element : place);
      if (r == rank_) continue;
      out.push_back({r, call.from + begin(r) * element, (begin(r + 1) - begin(r)) * element});
      in.push_back({r, place, own * element});
    }
    exchange(out, in);
    reduce_parts(parts, to, own, call.type, call.sums);
  }

  void exchange(const std::vector<Outgoing>& out, const std::vector<Incoming>& in) {
    transport_->exchange(out, in, [this](int) {
      if (aborted_) throw Aborted();
    });
    for (const Incoming& message : in) received_bytes += message.bytes;
  }

  void check_abort() const {
    if (aborted_) throw Aborted();
    std::this_thread::sleep_for(kNap);
  }

  const int rank_, size_;
  const Fault fault_;
  std::mutex mutex_;
  std::unique_ptr<Transport> transport_;
  std::vector<Call> calls_;
  StreamState* stream_ = nullptr;
  int polls_left_ = 0;
  int64_t collectives_ = 0;
  std::atomic<int> error_{0};
  std::atomic<bool> aborted_{false};
};

// What a comm is: the group lives as long as work of it is in a stream.
using Comm = std::shared_ptr<Group>;
Group& group_of(void* comm) {
  return **static_cast<Comm*>(comm);
}

// Calls of this thread between ncclGroupStart and ncclGroupEnd.
struct OpenGroup {
  int depth = 0;
  std::vector<Call> calls;
  void* comm = nullptr;
  StreamState* stream = nullptr;
};
OpenGroup& open_group() {
  thread_local OpenGroup group;
  return group;
}

int close_group() {
  OpenGroup& open = open_group();
  if (--open.depth > 0 || open.calls.empty()) return kNcclSuccess;
  return group_of(open.comm).submit(std::exchange(open.calls, {}), open.stream);
}

int add_call(const Call& call, void* comm, void* stream) {
  OpenGroup& open = open_group();
  check_device_pointer(call.from);
  check_device_pointer(call.to);
  if (!open.calls.empty() && (open.comm != comm || open.stream != stream)) return kInvalidUsage;
  ++open.depth;
  open.comm = comm;
  open.stream = static_cast<StreamState*>(stream);
  open.calls.push_back(call);
  return close_group();
}

const std::byte* bytes_at(const void* data) {
  return static_cast<const std::byte*>(data);
}
std::byte* bytes_at(void* data) {
  return static_cast<std::byte*>(data);
}

}  // namespace
}  // namespace gorgon::emulation

using namespace gorgon;
using namespace gorgon::emulation;

extern "C" {

int64_t gorgon_nccl_bytes_received() {
  return received_bytes;
}

int ncclGetUniqueId(NcclId* id) {
  std::snprintf(id->bytes, sizeof id->bytes, "%s/gorgon-nccl-XXXXXX", fs::temp_directory_path().c_str());
  return ::mkdtemp(id->bytes) == nullptr ? int{kInternalError} : int{kNcclSuccess};
}

int ncclCommInitRankConfig(void** comm, int size, NcclId id, int rank, NcclConfig* config) {
  if (config->size < sizeof(NcclConfig) || config->magic != 0xcafebeef || config->blocking != 0)
    return kInvalidArgument;
  auto group = std::make_shared<Group>(rank, size);
  group->start(id.bytes);
  *comm = new Comm(std::move(group));
  return kNcclInProgress;
}

int ncclCommDestroy(void* comm) {
  delete static_cast<Comm*>(comm);
  return kNcclSuccess;
}

int ncclCommAbort(void* comm) {
  group_of(comm).abort();
  return ncclCommDestroy(comm);
}

const char* ncclGetErrorString(int result) {
  switch (result) {
    case kInternalError:
      return "internal error";
    case kInvalidArgument:
      return "invalid argument";
    case kInvalidUsage:
      return "invalid usage";
    case kRemoteError:
      return "remote process exited or there was a network error";
    default:
      return "no error";
  }
}

int ncclCommGetAsyncError(void* comm, int* result) {
  *result = group_of(comm).poll();
  return kNcclSuccess;
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, void* comm, void* stream) {
  return add_call({Call::Kind::all_reduce, bytes_at(from), bytes_at(to), static_cast<int64_t>(count),
                   static_cast<NcclType>(type), op == static_cast<int>(NcclOp::sum), 0},
                  comm, stream);
}

int ncclAllGather(const void* from, void* to, size_t count, int type, void* comm, void* stream) {
  return add_call({Call::Kind::all_gather, bytes_at(from), bytes_at(to), static_cast<int64_t>(count),
                   static_cast<NcclType>(type), true, 0},
                  comm, stream);
}

int ncclReduceScatter(const void* from, void* to, size_t count, int type, int op, void* comm, void* stream) {
  return add_call({Call::Kind::reduce_scatter, bytes_at(from), bytes_at(to), static_cast<int64_t>(count),
                   static_cast<NcclType>(type), op == static_cast<int>(NcclOp::sum), 0},
                  comm, stream);
}

int ncclReduce(const void* from, void* to, size_t count, int type, int op, int root, void* comm,
               void* stream) {
  return add_call({Call::Kind::reduce, bytes_at(from), bytes_at(to), static_cast<int64_t>(count),
                   static_cast<NcclType>(type), op == static_cast<int>(NcclOp::sum), root},
                  comm, stream);
}

int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, void* comm, void* stream) {
  return add_call({Call::Kind::broadcast, bytes_at(from), bytes_at(to), static_cast<int64_t>(count),
                   static_cast<NcclType>(type), true, root},
                  comm, stream);
}

int ncclGroupStart() {
  ++open_group().depth;
  return kNcclSuccess;
}

int ncclGroupEnd() {
  return close_group();
}
}
