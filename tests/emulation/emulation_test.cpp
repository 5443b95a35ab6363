#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/device.h"
#include "kernels/error.h"
#include "kernels/tensor.h"

// What the emulated GPU promises to the op tests: results where a kernel is right, an error where the
// hardware would hang or answer something else every time.
namespace gorgon::cuda {
namespace {

using emulation::LaneOrder;
using testing::HasSubstr;
using testing::ThrowsMessage;

const Device kGpu{DeviceKind::cuda, 0};

std::vector<int32_t> run(void (*kernel)(int32_t*), dim3 grid, dim3 block, int64_t size,
                         size_t shared_bytes = 0) {
  const Stream stream(kGpu, 1);
  Tensor out = Tensor::zeros(DType::i32, {size}, kGpu);
  launch(kernel, grid, block, shared_bytes, stream, out.as<int32_t>());
  std::vector<int32_t> host(static_cast<size_t>(size));
  gorgon::copy_bytes({}, host.data(), kGpu, out.data(), out.bytes());
  return host;
}

class Emulation : public testing::TestWithParam<LaneOrder> {
 protected:
  void SetUp() override { emulation::set_lane_order(GetParam(), 7); }
  void TearDown() override { emulation::set_lane_order(before_); }
  LaneOrder before_ = emulation::lane_order();
};
INSTANTIATE_TEST_SUITE_P(Orders, Emulation,
                         testing::Values(LaneOrder::forward, LaneOrder::reverse, LaneOrder::random));

__global__ void indices(int32_t* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] += static_cast<int32_t>(block * 1000 + thread);
}
TEST_P(Emulation, EveryThreadOfEveryBlockRunsOnce) {
  const auto out = run(indices, dim3(3, 2, 2), dim3(5, 3, 2), 12 * 30);
  for (int i = 0; i < 12 * 30; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], i / 30 * 1000 + i % 30);
}

__global__ void rotate_with_barrier(int32_t* out) {
  GORGON_DYNAMIC_SHARED(int32_t, shared);
  const unsigned i = threadIdx.x, n = blockDim.x;
  for (int round = 0; round < 3; ++round) {
    shared[i] = static_cast<int32_t>(i) + round;
    __syncthreads();
    out[i] += shared[(i + 1) % n];
    __syncthreads();
  }
}
__global__ void rotate_without_barrier(int32_t* out) {
  GORGON_DYNAMIC_SHARED(int32_t, shared);
  const unsigned i = threadIdx.x;
  shared[i] = static_cast<int32_t>(i);
  out[i] = shared[(i + 1) % blockDim.x];
}
TEST_P(Emulation, BarriersOrderSharedMemory) {
  const auto out = run(rotate_with_barrier, 1, 70, 70, 70 * sizeof(int32_t));
  for (int i = 0; i < 70; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], 3 * ((i + 1) % 70) + 3);
}
TEST(EmulationRaces, MissingBarrierGivesOtherResultsInAnotherOrder) {
  const LaneOrder before = emulation::lane_order();
  emulation::set_lane_order(LaneOrder::forward);
  const auto forward = run(rotate_without_barrier, 1, 70, 70, 70 * sizeof(int32_t));
  emulation::set_lane_order(LaneOrder::reverse);
  const auto reverse = run(rotate_without_barrier, 1, 70, 70, 70 * sizeof(int32_t));
  emulation::set_lane_order(before);
  EXPECT_NE(forward, reverse);
}

__global__ void barrier_in_branch(int32_t*) {
  if (threadIdx.x < 40) __syncthreads();
}
__global__ void two_barriers(int32_t*) {
  if (threadIdx.x < 40) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void shuffle_in_branch(int32_t* out) {
  if (threadIdx.x < 7) out[threadIdx.x] = __shfl_xor_sync(kFullMask, 1, 1);
}
__global__ void mask_without_caller(int32_t* out) {
  out[threadIdx.x] = __shfl_xor_sync(0xffu, 1, 1);
}
TEST_P(Emulation, DivergenceIsAnError) {
  EXPECT_THAT([] { run(barrier_in_branch, 1, 64, 1); }, ThrowsMessage<Error>(HasSubstr("has returned")));
  EXPECT_THAT([] { run(two_barriers, 1, 64, 1); }, ThrowsMessage<Error>(HasSubstr("different barriers")));
  EXPECT_THAT([] { run(shuffle_in_branch, 1, 32, 32); },
              ThrowsMessage<Error>(HasSubstr("not all threads reach")));
  EXPECT_THAT([] { run(mask_without_caller, 1, 32, 32); },
              ThrowsMessage<Error>(HasSubstr("not all threads reach")));
  const auto after = run(rotate_with_barrier, 1, 33, 33, 33 * sizeof(int32_t));  // and leaves nothing behind
  EXPECT_EQ(after[0], 6);
}

__global__ void shuffles(int32_t* out) {
  const auto lane = static_cast<int32_t>(threadIdx.x % 32);
  int32_t* mine = out + threadIdx.x * 8;
  mine[0] = __shfl_xor_sync(kFullMask, lane, 5);
  mine[1] = __shfl_down_sync(kFullMask, lane, 3);
  mine[2] = __shfl_up_sync(kFullMask, lane, 3);
  mine[3] = __shfl_sync(kFullMask, lane * lane, 9);
  mine[4] = static_cast<int32_t>(__ballot_sync(kFullMask, lane % 3 == 0));
  mine[5] = __any_sync(kFullMask, lane == 31) * 2 + __any_sync(kFullMask, 0);
  mine[6] = __all_sync(kFullMask, 1) * 2 + __all_sync(kFullMask, lane != 4);
  if (lane < 16) mine[7] = __shfl_xor_sync(0xffffu, lane, 8);  // a part of the warp
}
TEST_P(Emulation, ShufflesAndVotes) {
  const auto out = run(shuffles, 1, 64, 64 * 8);
  uint32_t thirds = 0;
  for (unsigned l = 0; l < 32; l += 3) thirds |= 1u << l;
  for (int i = 0; i < 64; ++i) {
    const int lane = i % 32;
    const std::vector<int32_t> mine(out.begin() + i * 8, out.begin() + i * 8 + 8);
    EXPECT_THAT(
        mine, testing::ElementsAre(lane ^ 5, lane + 3 < 32 ? lane + 3 : lane, lane >= 3 ? lane - 3 : lane, 81,
                                   static_cast<int32_t>(thirds), 2, 2, lane < 16 ? lane ^ 8 : 0));
  }
}

__global__ void count(int32_t* out) {
  atomicAdd(out, static_cast<int32_t>(threadIdx.x));
  atomicMax(out + 1, static_cast<int32_t>(blockIdx.x));
}
TEST_P(Emulation, Atomics) {
  const auto out = run(count, 5, 40, 2);
  EXPECT_EQ(out[0], 5 * 780);
  EXPECT_EQ(out[1], 4);
}

__global__ void reductions(int32_t* out) {
  GORGON_DYNAMIC_SHARED(float, scratch);
  const auto x = static_cast<float>(threadIdx.x);
  const float sum = block_reduce<Sum>(x, scratch, 0.0f);
  const float max = block_reduce<Max>(-x - 3.0f, scratch, -1e30f);
  out[threadIdx.x] = static_cast<int32_t>(sum) + static_cast<int32_t>(max);
}
TEST_P(Emulation, BlockReductions) {
  for (const unsigned threads : {32u, 96u, 512u}) {
    const auto out = run(reductions, 1, threads, threads, 32 * sizeof(float));
    for (const int32_t value : out) EXPECT_EQ(value, static_cast<int32_t>(threads * (threads - 1) / 2) - 3);
  }
}

__global__ void convert(int32_t* out) {
  const auto bits = static_cast<uint32_t>(threadIdx.x) * 0x01010101u + 0x3f7fu;
  out[threadIdx.x] = from_float<bf16>(__uint_as_float(bits)).bits;
}
TEST_P(Emulation, Bf16RoundsAsOnTheHost) {
  const auto out = run(convert, 1, 256, 256);
  for (uint32_t i = 0; i < 256; ++i) {
    EXPECT_EQ(out[i], bf16(std::bit_cast<float>(i * 0x01010101u + 0x3f7fu)).bits);
  }
}

TEST(EmulatedDevice, LaunchLimits) {
  EXPECT_THROW(run(indices, 1, 1025, 1), Error);
  EXPECT_THROW(run(indices, dim3(1, 70000), 1, 1), Error);
  EXPECT_THROW(run(indices, 1, 32, 32, 300000), Error);
}

TEST(EmulatedDevice, HostPointersAreRefused) {
  const Stream stream(kGpu, 1);
  std::vector<int32_t> host(64);
  EXPECT_THAT([&] { launch(count, dim3(1), dim3(32), 0, stream, host.data()); },
              ThrowsMessage<Error>(HasSubstr("host memory")));
}

__global__ void write_past_the_end(int32_t* out) {
  out[threadIdx.x + 16] = 1;
}
TEST(EmulatedDeviceDeathTest, MemoryIsClosedToTheHostAndPastItsEnd) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Tensor out = Tensor::zeros(DType::i32, {16}, kGpu);
  EXPECT_DEATH(out.as<int32_t>()[0] = 1, "");
  EXPECT_DEATH(run(write_past_the_end, 1, 1, 16), "");
}

}  // namespace
}  // namespace gorgon::cuda
