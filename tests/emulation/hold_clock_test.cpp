#include <gtest/gtest.h>

#include "kernels/cuda/queue.h"
#include "kernels/side_queue.h"
#include "tests/emulation/device_memory.h"

// How long a stream stands still at marks, by the emulated device's time: what rank_seconds leave out on
// GPUs.
namespace gorgon {
namespace {

const Device kGpu{DeviceKind::cuda, 0};

class HoldClockTest : public testing::Test {
 protected:
  // Work of so many seconds.
  void own(double seconds) { put(cuda::queue_of(stream_).stream, seconds); }
  void beside(double seconds) { put(static_cast<cudaStream_t>(side_.native()), seconds); }

  const Stream stream_{kGpu, 1};
  const SideQueue side_{kGpu};
  HoldClock clock_;

 private:
  static void put(cudaStream_t queue, double seconds) {
    emulation::enqueue(queue, [seconds] { emulation::pass(seconds); });
  }
};

TEST_F(HoldClockTest, CountsWhatTheStreamWaitsForAndNothingElse) {
  own(2);
  beside(3);
  const SideQueue::Mark mark(side_);
  beside(5);  // behind the mark
  clock_.hold(mark, stream_);
  own(7);
  EXPECT_EQ(clock_.take(), 0);  // the stream has not come there
  stream_.synchronize();
  EXPECT_DOUBLE_EQ(clock_.take(), 3);
  EXPECT_EQ(clock_.take(), 0);  // counted once
}

TEST_F(HoldClockTest, AMarkThatHasPassedCostsNothing) {
  beside(3);
  const SideQueue::Mark mark(side_);
  side_.synchronize();
  own(2);
  clock_.hold(mark, stream_);
  stream_.synchronize();
  EXPECT_EQ(clock_.take(), 0);
}

TEST_F(HoldClockTest, AddsUpHoldsAsTheStreamPassesThem) {
  beside(1);
  const SideQueue::Mark first(side_);
  beside(4);
  const SideQueue::Mark second(side_);
  own(8);
  clock_.hold(first, stream_);
  stream_.synchronize();
  clock_.hold(second, stream_);  // has not been passed
  EXPECT_DOUBLE_EQ(clock_.take(), 1);
  own(16);
  stream_.synchronize();
  EXPECT_DOUBLE_EQ(clock_.take(), 4);
}

}  // namespace
}  // namespace gorgon
