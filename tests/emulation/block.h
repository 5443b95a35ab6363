#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <source_location>
#include <vector>

#include "tests/emulation/fiber.h"

namespace gorgon::emulation {

constexpr int kWarp = 32;

// In which order the threads of a block are scheduled between two barriers, and the blocks of a grid. What a
// kernel computes must not depend on it; a missing barrier shows when the orders disagree.
enum class LaneOrder { forward, reverse, random };
LaneOrder lane_order();  // at first what GORGON_LANE_ORDER names, or forward
void set_lane_order(LaneOrder order, uint64_t seed = 0);

struct Extent {
  unsigned x = 1, y = 1, z = 1;
};

enum class WarpOp { sync, share, shuffle_xor, shuffle_down, shuffle_up, shuffle_index, ballot };

// The threads of one block after the other, each a fiber. Barriers and warp operations hold a thread until
// those it waits for have come. Throws Error(internal) where the hardware would hang or the result be
// undefined:
// a barrier that some threads of the block pass by or that is not the same one for all, a warp operation
// whose mask leaves out its caller or names a thread that has returned or stands elsewhere.
class BlockRunner {
 public:
  // Runs body for every thread of every block; before each entry `enter_thread(block, thread)` sets the
  // built-in variables. shared_bytes of dynamic shared memory are fresh for each block and hold NaN patterns.
  void run(const char* kernel, Extent grid, Extent block, size_t shared_bytes,
           const std::function<void()>& body);

  // From inside a thread.
  void barrier(const std::source_location& where);
  uint64_t warp(WarpOp op, uint32_t mask, uint64_t value, int argument, const std::source_location& where);
  void* shared() { return shared_.get(); }
  // Copies of the running thread, in groups, put off until they are waited for. from = nullptr: zeros.
  void copy_later(void* to, const void* from, size_t bytes);
  void commit_copies();
  void finish_copies(size_t pending);  // all groups but the last `pending`

  Extent grid, block, block_index, thread_index;  // of the thread that runs

 private:
  enum class State { ready, at_barrier, at_warp, done };
  struct Thread {
    Fiber fiber;
    State state = State::done;
    Extent index;
    std::source_location where;  // of the barrier or warp operation it stands at
    WarpOp op = WarpOp::sync;
    uint32_t mask = 0;
    uint64_t value = 0, result = 0;
    int argument = 0;
    struct Copy {
      void* to;
      const void* from;
      size_t bytes;
    };
    std::vector<Copy> open;                // not yet in a group
    std::deque<std::vector<Copy>> groups;  // oldest first
  };

  void run_block(const std::function<void()>& body);
  void resume(int thread);
  void release_barrier();
  bool complete_warp_op(int thread);
  uint64_t warp_result(int thread) const;
  void order(std::vector<int>& indices);
  [[noreturn]] void diverged(const std::string& what) const;
  std::string describe(int thread) const;

  std::vector<std::unique_ptr<Thread>> threads_;  // kept between launches
  int count_ = 0;                                 // threads of the block
  int current_ = -1;
  std::vector<std::array<uint64_t, kWarp>> warp_values_;  // WarpOp::share, per warp
  std::unique_ptr<std::byte[]> shared_;
  const char* kernel_ = "";
};

// An address that the hardware would refuse.
[[noreturn]] void misaligned(const std::source_location& where);

// The runner that kernels of this host thread run on.
BlockRunner& runner();

}  // namespace gorgon::emulation
