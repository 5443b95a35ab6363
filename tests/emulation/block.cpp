#include "tests/emulation/block.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>

#include "kernels/error.h"

namespace gorgon::emulation {

namespace {

// GORGON_LANE_ORDER chooses the order for a whole test program.
LaneOrder order_of_environment() {
  const char* name = std::getenv("GORGON_LANE_ORDER");
  const std::string order = name == nullptr ? "forward" : name;
  require(order == "forward" || order == "reverse" || order == "random", "GORGON_LANE_ORDER",
          "no such order");
  return order == "forward"   ? LaneOrder::forward
         : order == "reverse" ? LaneOrder::reverse
                              : LaneOrder::random;
}

struct OrderSetting {
  LaneOrder order = order_of_environment();
  std::mt19937_64 random;
};
OrderSetting& order_setting() {
  static thread_local OrderSetting setting;
  return setting;
}

int volume(Extent e) {
  return static_cast<int>(e.x * e.y * e.z);
}
Extent at(Extent extent, int linear) {
  const auto i = static_cast<unsigned>(linear);
  return {i % extent.x, i / extent.x % extent.y, i / (extent.x * extent.y)};
}
std::string to_text(Extent e) {
  return "(" + std::to_string(e.x) + ", " + std::to_string(e.y) + ", " + std::to_string(e.z) + ")";
}

}  // namespace

LaneOrder lane_order() {
  return order_setting().order;
}

void set_lane_order(LaneOrder order, uint64_t seed) {
  order_setting().order = order;
  order_setting().random.seed(seed);
}

BlockRunner& runner() {
  static thread_local BlockRunner instance;
  return instance;
}

void BlockRunner::order(std::vector<int>& indices) {
  auto& setting = order_setting();
  std::iota(indices.begin(), indices.end(), 0);
  if (setting.order == LaneOrder::reverse) std::reverse(indices.begin(), indices.end());
  if (setting.order == LaneOrder::random) std::shuffle(indices.begin(), indices.end(), setting.random);
}

void BlockRunner::run(const char* kernel, Extent grid_extent, Extent block_extent, size_t shared_bytes,
                      const std::function<void()>& body) {
  kernel_ = kernel;
  grid = grid_extent;
  block = block_extent;
  count_ = volume(block);
  const bool fits = count_ >= 1 && count_ <= 1024 && grid.y <= 65535 && grid.z <= 65535 && block.z <= 64;
  if (!fits || volume(grid) < 1 || shared_bytes > (227u << 10)) {
    fail_internal(kernel, "launch of grid " + to_text(grid) + ", block " + to_text(block) + ", " +
                              std::to_string(shared_bytes) + " bytes of shared memory");
  }
  while (static_cast<int>(threads_.size()) < count_) threads_.push_back(std::make_unique<Thread>());
  std::vector<int> blocks(static_cast<size_t>(volume(grid)));
  order(blocks);
  for (const int b : blocks) {
    block_index = at(grid, b);
    shared_ = std::make_unique<std::byte[]>(shared_bytes);  // exact, so that an overrun is seen
    std::memset(shared_.get(), 0xff, shared_bytes);
    run_block(body);
  }
  shared_.reset();
}

void BlockRunner::run_block(const std::function<void()>& body) {
  for (int i = 0; i < count_; ++i) {
    Thread& thread = *threads_[static_cast<size_t>(i)];
    thread.index = at(block, i);
    thread.state = State::ready;
    thread.open.clear();
    thread.groups.clear();
    thread.fiber.start(body);
  }
  warp_values_.resize(static_cast<size_t>((count_ + kWarp - 1) / kWarp));
  std::vector<int> indices(static_cast<size_t>(count_));
  for (;;) {
    order(indices);
    bool progress = false;
    for (const int i : indices) {
      if (threads_[static_cast<size_t>(i)]->state != State::ready) continue;
      resume(i);
      progress = true;
    }
    if (progress) continue;
    const bool all_done = std::all_of(indices.begin(), indices.end(), [&](int i) {
      return threads_[static_cast<size_t>(i)]->state == State::done;
    });
    if (all_done) return;
    release_barrier();
  }
}

void BlockRunner::resume(int index) {
  Thread& thread = *threads_[static_cast<size_t>(index)];
  current_ = index;
  thread_index = thread.index;
  thread.fiber.enter();
  current_ = -1;
  if (thread.fiber.finished()) thread.state = State::done;
}

void BlockRunner::release_barrier() {
  const std::source_location* site = nullptr;
  for (int i = 0; i < count_; ++i) {
    const Thread& thread = *threads_[static_cast<size_t>(i)];
    if (thread.state != State::at_barrier) {
      diverged("a barrier or warp operation that not all threads reach: " + describe(i));
    }
    if (site == nullptr) site = &thread.where;
    if (thread.where.line() != site->line() ||
        std::strcmp(thread.where.file_name(), site->file_name()) != 0) {
      diverged("threads wait at different barriers: " + describe(0) + "; " + describe(i));
    }
  }
  for (int i = 0; i < count_; ++i) threads_[static_cast<size_t>(i)]->state = State::ready;
}

void BlockRunner::barrier(const std::source_location& where) {
  Thread& thread = *threads_[static_cast<size_t>(current_)];
  thread.where = where;
  thread.state = State::at_barrier;
  thread.fiber.leave();
}

uint64_t BlockRunner::warp(WarpOp op, uint32_t mask, uint64_t value, int argument,
                           const std::source_location& where) {
  const int index = current_;
  Thread& thread = *threads_[static_cast<size_t>(index)];
  thread.where = where;
  thread.op = op;
  thread.mask = mask;
  thread.value = value;
  thread.argument = argument;
  thread.state = State::at_warp;
  if (!complete_warp_op(index)) thread.fiber.leave();
  return thread.result;
}

// True when `index` was the last of its mask to come; all of them get their results and may go on.
bool BlockRunner::complete_warp_op(int index) {
  const Thread& caller = *threads_[static_cast<size_t>(index)];
  const int base = index / kWarp * kWarp;
  // Lanes beyond the end of the block do not exist and may be named by a full mask.
  const int lanes = std::min(kWarp, count_ - base);
  bool complete = (caller.mask >> (index - base) & 1u) != 0;
  for (int lane = 0; lane < lanes; ++lane) {
    if ((caller.mask >> lane & 1u) == 0) continue;
    const Thread& other = *threads_[static_cast<size_t>(base + lane)];
    complete =
        complete && other.state == State::at_warp && other.mask == caller.mask && other.op == caller.op;
  }
  if (!complete) return false;
  auto& values = warp_values_[static_cast<size_t>(base / kWarp)];
  for (int lane = 0; caller.op == WarpOp::share && lane < lanes; ++lane) {
    values[static_cast<size_t>(lane)] = threads_[static_cast<size_t>(base + lane)]->value;
  }
  for (int lane = 0; lane < lanes; ++lane) {
    if (caller.mask >> lane & 1u)
      threads_[static_cast<size_t>(base + lane)]->result = warp_result(base + lane);
  }
  for (int lane = 0; lane < lanes; ++lane) {
    if (caller.mask >> lane & 1u) threads_[static_cast<size_t>(base + lane)]->state = State::ready;
  }
  return true;
}

uint64_t BlockRunner::warp_result(int index) const {
  const Thread& thread = *threads_[static_cast<size_t>(index)];
  const int base = index / kWarp * kWarp, lane = index - base;
  int source = lane;
  switch (thread.op) {
    case WarpOp::sync:
      return 0;
    case WarpOp::share:
      return reinterpret_cast<uint64_t>(warp_values_[static_cast<size_t>(base / kWarp)].data());
    case WarpOp::ballot: {
      uint32_t votes = 0;
      for (int l = 0; l < kWarp && base + l < count_; ++l) {
        const bool named = (thread.mask >> l & 1u) != 0;
        if (named && threads_[static_cast<size_t>(base + l)]->value != 0) votes |= 1u << l;
      }
      return votes;
    }
    case WarpOp::shuffle_xor:
      source = lane ^ thread.argument;
      break;
    case WarpOp::shuffle_down:
      source = lane + thread.argument < kWarp ? lane + thread.argument : lane;
      break;
    case WarpOp::shuffle_up:
      source = lane - thread.argument >= 0 ? lane - thread.argument : lane;
      break;
    case WarpOp::shuffle_index:
      source = thread.argument & (kWarp - 1);
      break;
  }
  const bool named = source >= 0 && source < kWarp && (thread.mask >> source & 1u) != 0;
  if (!named || base + source >= count_) {
    return std::bit_cast<uint64_t>(0x7ff8dead7fc0dead);  // undefined on the hardware: NaN in f32 and f64
  }
  return threads_[static_cast<size_t>(base + source)]->value;
}

void BlockRunner::copy_later(void* to, const void* from, size_t bytes) {
  threads_[static_cast<size_t>(current_)]->open.push_back({to, from, bytes});
}

void BlockRunner::commit_copies() {
  Thread& thread = *threads_[static_cast<size_t>(current_)];
  thread.groups.push_back(std::move(thread.open));
  thread.open.clear();
}

void BlockRunner::finish_copies(size_t pending) {
  auto& groups = threads_[static_cast<size_t>(current_)]->groups;
  for (; groups.size() > pending; groups.pop_front()) {
    for (const auto& copy : groups.front()) {
      if (copy.from == nullptr) {
        std::memset(copy.to, 0, copy.bytes);
      } else {
        std::memcpy(copy.to, copy.from, copy.bytes);
      }
    }
  }
}

void misaligned(const std::source_location& where) {
  // Inside a fiber nothing can be thrown.
  std::fprintf(stderr, "misaligned address at %s:%u\n", where.file_name(), where.line());
  std::abort();
}

void BlockRunner::diverged(const std::string& what) const {
  fail_internal(kernel_, what + " (block " + to_text(block_index) + ")");
}

std::string BlockRunner::describe(int index) const {
  const Thread& thread = *threads_[static_cast<size_t>(index)];
  std::string text = "thread " + to_text(thread.index);
  if (thread.state == State::done) return text + " has returned";
  text +=
      thread.state == State::at_barrier ? " waits at the barrier of " : " waits at the warp operation of ";
  return text + thread.where.file_name() + ":" + std::to_string(thread.where.line());
}

}  // namespace gorgon::emulation
