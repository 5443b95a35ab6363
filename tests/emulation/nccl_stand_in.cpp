#include "tests/emulation/nccl_stand_in.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/dtype.h"
#include "tests/emulation/device_memory.h"

namespace gorgon::emulation {
namespace {

constexpr int kSystemError = 2, kInvalidArgument = 4;  // ncclResult_t
constexpr int64_t kPiece = 1 << 16;                    // bytes of a rank that are in the file at a time
constexpr auto kPatience = std::chrono::minutes(1);

struct Header {
  std::atomic<int64_t> arrived;
};
static_assert(std::atomic<int64_t>::is_always_lock_free);

class Group {
 public:
  Group(const char* file, int size, int rank) : size_(size), rank_(rank) {
    const int64_t bytes = static_cast<int64_t>(sizeof(Header)) + size * kPiece;
    const int descriptor = ::open(file, O_RDWR);
    if (descriptor < 0 || ::ftruncate(descriptor, bytes) != 0) return;
    void* memory =
        ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    ::close(descriptor);
    if (memory == MAP_FAILED) return;
    bytes_ = static_cast<size_t>(bytes);
    header_ = static_cast<Header*>(memory);
    if (meet() && rank == 0) ::unlink(file);
  }
  ~Group() {
    if (header_ != nullptr) ::munmap(header_, bytes_);
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  bool is_open() const { return header_ != nullptr; }
  int size() const { return size_; }
  int rank() const { return rank_; }
  std::byte* place(int r) const { return reinterpret_cast<std::byte*>(header_ + 1) + r * kPiece; }

  // False when the others do not come.
  bool meet() {
    ++meetings_;
    ++header_->arrived;
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (header_->arrived < meetings_ * size_) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    return true;
  }

 private:
  int size_, rank_;
  int64_t meetings_ = 0;
  size_t bytes_ = 0;
  Header* header_ = nullptr;
};

Group& group_of(void* comm) {
  return *static_cast<Group*>(comm);
}

int64_t bytes_of_type(int type) {
  if (type == static_cast<int>(NcclType::u8)) return 1;
  if (type == static_cast<int>(NcclType::bf16)) return 2;
  return type == static_cast<int>(NcclType::i64) ? 8 : 4;
}

template <typename T, typename A>
void reduce_values(const Group& group, std::byte* to, int64_t bytes, int op) {
  for (int64_t at = 0; at < bytes; at += static_cast<int64_t>(sizeof(T))) {
    A total{};
    for (int r = 0; r < group.size(); ++r) {
      T value;
      std::memcpy(&value, group.place(r) + at, sizeof(T));
      const A wide = static_cast<A>(value);
      if (r == 0) {
        total = wide;
      } else {
        total = op == static_cast<int>(NcclOp::sum) ? static_cast<A>(total + wide) : std::max(total, wide);
      }
    }
    const T result = static_cast<T>(total);
    std::memcpy(to + at, &result, sizeof(T));
  }
}

int reduce_piece(const Group& group, std::byte* to, int64_t bytes, int type, int op) {
  switch (static_cast<NcclType>(type)) {
    case NcclType::u8:
      reduce_values<uint8_t, uint8_t>(group, to, bytes, op);
      return 0;
    case NcclType::i32:
      reduce_values<int32_t, int32_t>(group, to, bytes, op);
      return 0;
    case NcclType::i64:
      reduce_values<int64_t, int64_t>(group, to, bytes, op);
      return 0;
    case NcclType::f32:
      reduce_values<float, float>(group, to, bytes, op);
      return 0;
    case NcclType::bf16:
      reduce_values<bf16, float>(group, to, bytes, op);
      return 0;
  }
  return kInvalidArgument;
}

// Every rank puts its piece into the file where it `gives`; `take` reads what is there.
template <typename Take>
int by_pieces(Group& group, const void* from, size_t count, int type, bool gives, const Take& take) {
  const int64_t bytes = static_cast<int64_t>(count) * bytes_of_type(type);
  if (gives) check_device_pointer(from);
  for (int64_t at = 0; at < bytes; at += kPiece) {
    const int64_t size = std::min(kPiece, bytes - at);
    if (gives) {
      const KernelAccess access;
      std::memcpy(group.place(group.rank()), static_cast<const std::byte*>(from) + at,
                  static_cast<size_t>(size));
    }
    if (!group.meet()) return kSystemError;
    {
      const KernelAccess access;
      if (const int result = take(at, size); result != 0) return result;
    }
    if (!group.meet()) return kSystemError;
  }
  return 0;
}

int get_unique_id(NcclId* id) {
  std::snprintf(id->bytes, sizeof id->bytes, "/dev/shm/gorgon-nccl-XXXXXX");
  const int descriptor = ::mkstemp(id->bytes);
  if (descriptor < 0) return kSystemError;
  const Header empty{};
  const bool written = ::write(descriptor, &empty, sizeof empty) == static_cast<ssize_t>(sizeof empty);
  ::close(descriptor);
  return written ? 0 : kSystemError;
}

int comm_init_rank(void** comm, int size, NcclId id, int rank) {
  auto group = std::make_unique<Group>(id.bytes, size, rank);
  if (!group->is_open()) return kSystemError;
  *comm = group.release();
  return 0;
}

int comm_destroy(void* comm) {
  delete &group_of(comm);
  return 0;
}

int reduce(const void* from, void* to, size_t count, int type, int op, int root, void* comm, void* stream) {
  finish_work(static_cast<StreamState*>(stream));
  Group& group = group_of(comm);
  const bool takes = root < 0 || root == group.rank();
  if (takes) check_device_pointer(to);
  return by_pieces(group, from, count, type, true, [&](int64_t at, int64_t size) {
    return takes ? reduce_piece(group, static_cast<std::byte*>(to) + at, size, type, op) : 0;
  });
}

int all_reduce(const void* from, void* to, size_t count, int type, int op, void* comm, void* stream) {
  return reduce(from, to, count, type, op, -1, comm, stream);
}

int broadcast(const void* from, void* to, size_t count, int type, int root, void* comm, void* stream) {
  finish_work(static_cast<StreamState*>(stream));
  Group& group = group_of(comm);
  check_device_pointer(to);
  return by_pieces(group, from, count, type, root == group.rank(), [&](int64_t at, int64_t size) {
    std::memcpy(static_cast<std::byte*>(to) + at, group.place(root), static_cast<size_t>(size));
    return 0;
  });
}

}  // namespace

NcclApi nccl_stand_in() {
  NcclApi api;
  api.get_unique_id = get_unique_id;
  api.comm_init_rank = comm_init_rank;
  api.comm_destroy = comm_destroy;
  api.comm_abort = comm_destroy;
  api.get_error_string = [](int result) {
    return result == kSystemError ? "system error" : "invalid argument";
  };
  api.comm_get_async_error = [](void*, int* result) { return *result = 0; };
  api.all_reduce = all_reduce;
  api.reduce = reduce;
  api.broadcast = broadcast;
  api.group_start = [] { return 0; };
  api.group_end = [] { return 0; };
  return api;
}

}  // namespace gorgon::emulation
