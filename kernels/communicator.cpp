#include "kernels/communicator.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <iterator>

#include "kernels/error.h"

namespace gorgon {
namespace {

class SingleCommunicator final : public Communicator {
 public:
  SingleCommunicator() : Communicator(0, 1) {}
  Pending all_reduce(View, ReduceOp, std::string_view, const Stream&) override { return {}; }
  Pending all_gather_v(ConstView mine, View all, const std::vector<int64_t>&, std::string_view,
                       const Stream& stream) override {
    return copy(mine, all, stream);
  }
  Pending reduce_scatter_v(ConstView values, View mine, const std::vector<int64_t>&, std::string_view,
                           const Stream& stream) override {
    return copy(values, mine, stream);
  }
  Pending broadcast(View, int, std::string_view, const Stream&) override { return {}; }
  void barrier(std::string_view) override {}
  void abort() noexcept override {}

 private:
  static Pending copy(ConstView from, View to, const Stream& stream) {
    require(from.elements() == to.elements() && from.type == to.type, "Communicator", "sizes");
    if (from.data == to.data) return {};
    stream.synchronize();
    copy_bytes(to.device, to.data, from.device, from.data, bytes_of(from.type, from.elements()));
    return {};
  }
};

// Host memory borrowed as a view.
template <typename T>
View view_of(T* data, int64_t count) {
  return {reinterpret_cast<std::byte*>(data), dtype_of<T>(), {count}, {}, 0};
}

}  // namespace

void Pending::wait() {
  if (!done_.valid()) return;
  const auto start = std::chrono::steady_clock::now();
  done_.wait();
  *waited_ = *waited_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  done_.get();
}

std::unique_ptr<Communicator> single_communicator() {
  return std::make_unique<SingleCommunicator>();
}

std::vector<std::string> gather_texts(Communicator& ranks, const std::string& mine, std::string_view what) {
  const Stream host({}, 1);
  const auto n = static_cast<size_t>(ranks.size());
  std::vector<int64_t> sizes(n);
  sizes[static_cast<size_t>(ranks.rank())] = std::ssize(mine);
  all_reduce(ranks, sizes, ReduceOp::sum, what);
  int64_t total = 0;
  for (const int64_t size : sizes) total += size;
  std::vector<uint8_t> own(mine.begin(), mine.end()), all(static_cast<size_t>(total));
  ranks.all_gather_v(view_of(own.data(), std::ssize(own)), view_of(all.data(), total), sizes, what, host)
      .wait();
  std::vector<std::string> texts;
  auto at = all.begin();
  for (const int64_t size : sizes) {
    texts.emplace_back(at, at + size);
    at += size;
  }
  return texts;
}

std::string broadcast_text(Communicator& ranks, const std::string& text, std::string_view what) {
  const Stream host({}, 1);
  std::vector<int64_t> size{ranks.rank() == 0 ? std::ssize(text) : 0};
  all_reduce(ranks, size, ReduceOp::sum, what);
  std::vector<uint8_t> bytes(text.begin(), text.end());
  bytes.resize(static_cast<size_t>(size[0]));
  ranks.broadcast(view_of(bytes.data(), size[0]), 0, what, host).wait();
  return {bytes.begin(), bytes.end()};
}

void all_reduce(Communicator& ranks, std::vector<int64_t>& values, ReduceOp op, std::string_view what) {
  const Stream host({}, 1);
  ranks.all_reduce(view_of(values.data(), std::ssize(values)), op, what, host).wait();
}

std::vector<double> gather_all(Communicator& ranks, const std::vector<double>& mine, std::string_view what) {
  const Stream host({}, 1);
  const int64_t n = std::ssize(mine);
  std::vector<int64_t> bits(mine.size()), all(mine.size() * static_cast<size_t>(ranks.size()));
  for (size_t i = 0; i < mine.size(); ++i) bits[i] = std::bit_cast<int64_t>(mine[i]);
  const std::vector<int64_t> counts(static_cast<size_t>(ranks.size()), n);
  ranks.all_gather_v(view_of(bits.data(), n), view_of(all.data(), std::ssize(all)), counts, what, host)
      .wait();
  std::vector<double> values(all.size());
  for (size_t i = 0; i < all.size(); ++i) values[i] = std::bit_cast<double>(all[i]);
  return values;
}

void sum_all(Communicator& ranks, std::vector<double>& values, std::string_view what) {
  if (ranks.size() == 1) return;
  const std::vector<double> all = gather_all(ranks, values, what);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 0;
    for (size_t at = i; at < all.size(); at += values.size()) values[i] += all[at];
  }
}

std::vector<int64_t> equal_parts(int64_t count, int n) {
  std::vector<int64_t> bounds;
  for (int r = 0; r <= n; ++r) bounds.push_back(count * r / n);
  return bounds;
}

std::vector<int64_t> block_parts(int64_t count, int64_t block, int n) {
  std::vector<int64_t> bounds = equal_parts((count + block - 1) / block, n);
  for (int64_t& bound : bounds) bound = std::min(count, bound * block);
  return bounds;
}

}  // namespace gorgon
