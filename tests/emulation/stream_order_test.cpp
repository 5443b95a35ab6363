#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/device.h"
#include "kernels/side_queue.h"
#include "kernels/tensor.h"
#include "tests/emulation/device_memory.h"

// Two streams that hand memory to each other: with the waits that belong there, every order in which a GPU
// may run them gives one result; each wait that is left out shows in one order at least.
namespace gorgon::cuda {
namespace {

using emulation::StreamOrder;

const Device kGpu{DeviceKind::cuda, 0};
constexpr int32_t kRounds = 4;

__global__ void set(int32_t* to, int32_t value) {
  *to = value;
}
__global__ void append(const int32_t* from, int32_t* to, int32_t at) {
  to[at] = *from;
}

struct Waits {
  bool before_reading = true, before_writing = true;
};

class OrderScope {
 public:
  explicit OrderScope(StreamOrder order) { emulation::set_stream_order(order); }
  ~OrderScope() { emulation::set_stream_order(StreamOrder::late); }
};

// `writer` sets one number again and again, `reader` copies it each time.
std::vector<int32_t> read_in_turn(const Stream& writer, const Stream& reader, Waits waits) {
  const Tensor number = Tensor::zeros(DType::i32, {1}, kGpu),
               seen = Tensor::zeros(DType::i32, {kRounds}, kGpu);
  auto* shared = const_cast<int32_t*>(number.as<int32_t>());
  auto* copies = const_cast<int32_t*>(seen.as<int32_t>());
  for (int32_t i = 0; i < kRounds; ++i) {
    if (waits.before_writing) gorgon::follow(writer, reader);
    launch(set, 1, 1, 0, writer, shared, i + 1);
    if (waits.before_reading) gorgon::follow(reader, writer);
    launch(append, 1, 1, 0, reader, shared, copies, i);
  }
  std::vector<int32_t> host(kRounds);
  reader.synchronize();
  gorgon::copy_bytes({}, host.data(), kGpu, seen.data(), seen.bytes());
  return host;
}

int orders_that_differ(bool writer_is_older, Waits waits) {
  const std::vector<int32_t> expected{1, 2, 3, 4};
  int differing = 0;
  for (const StreamOrder order :
       {StreamOrder::late, StreamOrder::early, StreamOrder::oldest_late, StreamOrder::newest_late}) {
    const OrderScope scope(order);
    const Stream older(kGpu, 1), newer(kGpu, 1);
    const std::vector<int32_t> seen =
        writer_is_older ? read_in_turn(older, newer, waits) : read_in_turn(newer, older, waits);
    differing += seen != expected ? 1 : 0;
  }
  return differing;
}

TEST(StreamOrder, WaitsMakeAllOrdersAlike) {
  for (const bool writer_is_older : {false, true}) EXPECT_EQ(orders_that_differ(writer_is_older, {}), 0);
}
TEST(StreamOrder, AMissingWaitShows) {
  for (const bool writer_is_older : {false, true}) {
    EXPECT_GT(orders_that_differ(writer_is_older, {.before_reading = false}), 0);
    EXPECT_GT(orders_that_differ(writer_is_older, {.before_writing = false}), 0);
  }
}

}  // namespace
}  // namespace gorgon::cuda
