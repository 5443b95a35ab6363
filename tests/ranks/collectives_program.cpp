// One rank of ranks_test.cpp, and of nccl_test.cpp on an emulated GPU: every collective against plain loops
// over what each rank is known to hold.
#include <algorithm>
#include <bit>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include <unistd.h>

#include "kernels/error.h"
#include "kernels/ranks/rank_group.h"
#include "tests/ranks/heads_device.h"

namespace gorgon {
namespace {

// What rank r holds at element i: any rank can tell. Multiples of 2^-20 below 8, so that f32 sums round.
float value_of(int r, int64_t i, int salt) {
  const uint64_t x = (static_cast<uint64_t>(i) * 2654435761u + static_cast<uint64_t>(r) * 40503u +
                      static_cast<uint64_t>(salt) * 97u) *
                     6364136223846793005u;
  return static_cast<float>(static_cast<int64_t>(x >> 40) - (1 << 23)) / 1048576.0f;
}

template <typename T>
T typed_value(int r, int64_t i, int salt) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<int64_t>(value_of(r, i, salt) * 3));
  else
    return static_cast<T>(value_of(r, i, salt));
}

void expect(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "not as expected: %s\n", what.c_str());
  std::_Exit(1);
}

template <typename T>
std::vector<T> held(int r, int64_t n, int salt) {
  std::vector<T> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = typed_value<T>(r, i, salt);
  return values;
}

bool on_gpu() {
  return heads_device().kind == DeviceKind::cuda;
}

// Values where collectives take them from and leave them.
template <typename T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values)
      : tensor_(dtype_of<T>(), {std::ssize(values)}, heads_device()) {
    copy_bytes(tensor_.device(), tensor_.data(), {}, values.data(), tensor_.bytes());
  }
  explicit OnDevice(int64_t size) : OnDevice(std::vector<T>(static_cast<size_t>(size))) {}
  View view() { return tensor_.view(); }
  int64_t size() const { return tensor_.elements(); }
  std::vector<T> read(const Stream& stream) const {
    stream.synchronize();
    std::vector<T> values(static_cast<size_t>(size()));
    copy_bytes({}, values.data(), tensor_.device(), tensor_.data(), tensor_.bytes());
    return values;
  }

 private:
  Tensor tensor_;
};

// The contract of the CPU: bf16 added in f32, f32 in f64, in the order of ranks, rounded once. NCCL's
// stand-in adds f32 in f32.
template <typename T, typename Sum>
T reduced_in(int n, int64_t i, int salt, ReduceOp op) {
  auto total = static_cast<Sum>(typed_value<T>(0, i, salt));
  for (int r = 1; r < n; ++r) {
    const auto value = static_cast<Sum>(typed_value<T>(r, i, salt));
    total = op == ReduceOp::sum ? static_cast<Sum>(total + value) : std::max(total, value);
  }
  return static_cast<T>(total);
}
template <typename T>
T reduced(int n, int64_t i, int salt, ReduceOp op) {
  if constexpr (std::is_same_v<T, float>)
    return on_gpu() ? reduced_in<T, float>(n, i, salt, op) : reduced_in<T, double>(n, i, salt, op);
  else
    return reduced_in<T, std::conditional_t<std::is_same_v<T, bf16>, float, T>>(n, i, salt, op);
}

class Checks {
 public:
  explicit Checks(RankGroup& group)
      : ranks_(group.on(heads_device())),
        host_(group.host()),
        n_(group.size()),
        rank_(group.rank()),
        stream_(heads_device(), 1) {}

  void all() {
    // On an emulated GPU memory is slow to open and close.
    for (const int64_t size : {0, 1, 5, 1000, on_gpu() ? 300001 : 2500001}) {
      all_reduce<float>(size, ReduceOp::sum);
      all_reduce<bf16>(size, ReduceOp::sum);
    }
    all_reduce<float>(1000, ReduceOp::max);
    all_reduce<int32_t>(1000, ReduceOp::sum);
    all_reduce<int64_t>(1000, ReduceOp::max);
    all_reduce<uint8_t>(1000, ReduceOp::max);
    for (const int64_t size : {int64_t{1}, int64_t{1000}, int64_t{1} << (on_gpu() ? 16 : 20)}) {
      for (const std::vector<int64_t>& counts : {uneven(size), even(size)}) {
        gather(counts);
        for (const bool in_place : {false, true}) {
          reduce_scatter<float>(counts, in_place);
          reduce_scatter<bf16>(counts, in_place);
        }
      }
      for (const int root : {0, n_ - 1}) broadcast(size, root);
    }
    several_at_once();
    texts();
    ranks_.barrier("the end of the checks");
  }
  uint64_t hash() const { return hash_; }

 private:
  template <typename T>
  void add(const std::vector<T>& values) {
    for (const std::byte byte : std::as_bytes(std::span(values)))
      hash_ = (hash_ ^ static_cast<uint64_t>(byte)) * 1099511628211u;
  }
  std::vector<int64_t> uneven(int64_t size) const {
    std::vector<int64_t> counts;
    for (int r = 0; r < n_; ++r) counts.push_back(size * r);  // rank 0 has none
    return counts;
  }
  std::vector<int64_t> even(int64_t size) const {
    return std::vector<int64_t>(static_cast<size_t>(n_), size);
  }

  template <typename T>
  void all_reduce(int64_t size, ReduceOp op) {
    OnDevice<T> given(held<T>(rank_, size, 1));
    const int64_t before = received();
    ranks_.all_reduce(given.view(), op, "values", stream_).wait();
    const std::vector<T> values = given.read(stream_);
    for (int64_t i = 0; i < size; ++i) {
      expect(std::memcmp(&values[static_cast<size_t>(i)],
                         std::addressof(static_cast<const T&>(reduced<T>(n_, i, 1, op))), sizeof(T)) == 0,
             "all_reduce of " + std::to_string(size));
    }
    // Of every piece (4 MiB on a CPU): n - 1 times its own part, and all other parts.
    const int64_t piece = on_gpu() ? size + 1 : (4 << 20) / static_cast<int64_t>(sizeof(T));
    int64_t expected = 0;
    for (int64_t begin = 0; begin < size; begin += piece) {
      const int64_t count = std::min(piece, size - begin);
      const int64_t own = count * (rank_ + 1) / n_ - count * rank_ / n_;
      expected += ((n_ - 1) * own + count - own) * static_cast<int64_t>(sizeof(T));
    }
    expect(received() - before == expected, "bytes of all_reduce");
    add(values);
  }

  void gather(const std::vector<int64_t>& counts) {
    OnDevice<float> mine(held<float>(rank_, counts[static_cast<size_t>(rank_)], 2));
    std::vector<float> wanted;
    for (int r = 0; r < n_; ++r) {
      const std::vector<float> part = held<float>(r, counts[static_cast<size_t>(r)], 2);
      wanted.insert(wanted.end(), part.begin(), part.end());
    }
    OnDevice<float> to(std::ssize(wanted));
    const int64_t before = received();
    ranks_.all_gather_v(mine.view(), to.view(), counts, "parts", stream_).wait();
    const std::vector<float> all = to.read(stream_);
    expect(all == wanted, "all_gather_v");
    expect(received() - before == 4 * (to.size() - mine.size()), "bytes of all_gather_v");
    add(all);
  }

  // In place, the other parts of the values stay.
  template <typename T>
  void reduce_scatter(const std::vector<int64_t>& counts, bool in_place) {
    int64_t first = 0, total = 0;
    for (int r = 0; r < n_; ++r) {
      if (r == rank_) first = total;
      total += counts[static_cast<size_t>(r)];
    }
    const int64_t own = counts[static_cast<size_t>(rank_)], bytes = own * static_cast<int64_t>(sizeof(T));
    const std::vector<T> given = held<T>(rank_, total, 3);
    OnDevice<T> values(given), to(own);
    const int64_t before = received();
    const View mine = in_place ? values.view().rows(first, first + own) : to.view();
    ranks_.reduce_scatter_v(values.view(), mine, counts, "parts", stream_).wait();
    const std::vector<T> all = values.read(stream_);
    const std::vector<T> sums =
        in_place ? std::vector<T>(all.begin() + first, all.begin() + first + own) : to.read(stream_);
    for (int64_t i = 0; i < own; ++i) {
      expect(sums[static_cast<size_t>(i)] == reduced<T>(n_, first + i, 3, ReduceOp::sum), "reduce_scatter_v");
    }
    for (int64_t i = 0; i < total; ++i) {
      const bool is_mine = in_place && i >= first && i < first + own;
      expect(is_mine || all[static_cast<size_t>(i)] == given[static_cast<size_t>(i)],
             "what reduce_scatter_v leaves");
    }
    expect(received() - before == (n_ - 1) * bytes, "bytes of reduce_scatter_v");
  }

  void broadcast(int64_t size, int root) {
    OnDevice<float> given(held<float>(rank_, size, 4));
    const int64_t before = received();
    ranks_.broadcast(given.view(), root, "values", stream_).wait();
    const std::vector<float> values = given.read(stream_);
    expect(values == held<float>(root, size, 4), "broadcast");
    expect(received() - before == (rank_ == root ? 0 : 4 * size), "bytes of broadcast");
    add(values);
  }

  void several_at_once() {
    std::vector<OnDevice<float>> given;
    std::vector<Pending> pending;
    for (int k = 0; k < 5; ++k) given.emplace_back(held<float>(rank_, 30000, 10 + k));
    for (OnDevice<float>& v : given)
      pending.push_back(ranks_.all_reduce(v.view(), ReduceOp::sum, "gradients", stream_));
    for (int k = 4; k >= 0; --k) {
      pending[static_cast<size_t>(k)].wait();
      const std::vector<float> values = given[static_cast<size_t>(k)].read(stream_);
      for (int64_t i = 0; i < 30000; ++i) {
        expect(values[static_cast<size_t>(i)] == reduced<float>(n_, i, 10 + k, ReduceOp::sum),
               "several at once");
      }
    }
  }

  void texts() {
    const std::vector<std::string> all =
        gather_texts(host_, std::string(static_cast<size_t>(rank_), 'x'), "texts");
    for (int r = 0; r < n_; ++r)
      expect(all[static_cast<size_t>(r)] == std::string(static_cast<size_t>(r), 'x'), "gather_texts");
    expect(broadcast_text(host_, rank_ == 0 ? "from rank 0" : "mine", "text") == "from rank 0",
           "broadcast_text");
    std::vector<double> sums{0.1 * (rank_ + 1)};
    sum_all(host_, sums, "sums");
    double wanted = 0;
    for (int r = 0; r < n_; ++r) wanted += 0.1 * (r + 1);
    expect(sums[0] == wanted, "sum_all");
  }

  int64_t received() const { return heads_bytes_received(ranks_); }

  Communicator &ranks_, &host_;
  int n_, rank_;
  Stream stream_;
  uint64_t hash_ = 14695981039346656037u;
};

void wait_for_ever() {
  for (;;) ::pause();
}

int run(const std::string& what, double deadline, double turned_away) {
  MeetingTerms terms;
  terms.seconds = what == "collectives" ? std::min(deadline, 30.0) : 30;
  terms.first_word = 0.2;
  terms.turned_away = turned_away;
  terms.say = [](const std::string& line) { std::fprintf(stderr, "said: %s\n", line.c_str()); };
  const LaunchEnvironment launched =
      read_launch_environment([](const char* name) { return std::getenv(name); });
  RankGroup group(launched, terms, [](const std::string& line, bool) {
    std::fprintf(stderr, "lost: %s\n", line.c_str());
    std::_Exit(7);
  });
  group.set_deadline(deadline);
  try {
    if (what == "collectives") {
      Checks checks(group);
      checks.all();
      std::printf("rank %d of %d: %016lx\n", group.rank(), group.size(),
                  static_cast<unsigned long>(checks.hash()));
    } else {
      group.set_step(12);
      OnDevice<float> values(100000);
      const Stream stream(heads_device(), 1);
      Communicator& ranks = group.on(heads_device());
      // The last rank: ends, stays away from the collective, stops, or fails; the others compute or wait.
      if (group.rank() == group.size() - 1) {
        if (what == "ends") {
          ::usleep(500000);  // rank 0 is in the collective by then
          std::_Exit(9);
        }
        if (what == "away") wait_for_ever();
        if (what == "stops") ::raise(SIGSTOP);
        if (what == "fails") throw Error(ExitCode::model, "no such model");
      }
      if (what == "ends" && group.rank() == 1) wait_for_ever();  // in no collective
      ranks.all_reduce(values.view(), ReduceOp::sum, "gradients of head 3", stream).wait();
      stream.synchronize();
    }
    group.leave();
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    group.fail(error.what());
    std::fflush(stderr);
    std::_Exit(static_cast<int>(error.code()));
  }
}

}  // namespace
}  // namespace gorgon

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) {});  // mpirun's, to those that are left: gorgon takes it for a request
  try {
    return gorgon::run(argc > 1 ? argv[1] : "", argc > 2 ? std::atof(argv[2]) : 60,
                       argc > 3 ? std::atof(argv[3]) : 60);
  } catch (const gorgon::NotMet& error) {
    std::fprintf(stderr, "not met: %s%s\n", error.what(), error.told() ? " (told)" : "");
    return static_cast<int>(error.code());
  }
}
