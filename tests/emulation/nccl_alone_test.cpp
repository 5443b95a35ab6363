#include <cstdlib>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/ranks/nccl_communicator.h"
#include "kernels/transfer.h"
#include "tests/kernels/on_device.h"

// NCCL itself on one GPU, in a job of one rank: that its functions are what nccl_api.h says, that a
// communicator that does not block comes up and goes, and that its work is in the streams' order. Where there
// is no GPU or no NCCL (GORGON_NCCL, or libnccl.so.2), nothing is measured.

namespace gorgon {
namespace {

constexpr int64_t kElements = 100000;

class NcclAlone : public testing::Test {
 protected:
  NcclAlone()
      : library_(std::getenv("GORGON_NCCL") == nullptr ? "libnccl.so.2" : std::getenv("GORGON_NCCL")),
        host_(single_communicator()) {
    Meeting met;
    met.peers.resize(1);
    watch_ = std::make_unique<PeerWatch>(0, std::move(met));
  }
  // Why nothing can be measured; empty where it can.
  std::string missing() const {
    if (test_device().kind == DeviceKind::cpu) return "not measured: no GPU";
    try {
      open_nccl(library_);
    } catch (const std::exception& error) {
      return std::string("not measured: ") + error.what();
    }
    return "";
  }
  static std::vector<float> numbers() {
    std::vector<float> values;
    for (int64_t i = 0; i < kElements; ++i) values.push_back(static_cast<float>(i % 1009) * 0.25f);
    return values;
  }
  static std::vector<float> read(const Tensor& tensor, const Stream& stream) {
    stream.synchronize();
    const Tensor host = tensor.to({});
    return {host.as<float>(), host.as<float>() + host.elements()};
  }

  std::string library_;
  std::unique_ptr<Communicator> host_;
  std::unique_ptr<PeerWatch> watch_;
};

TEST_F(NcclAlone, CollectivesOfOneRankAreCopiesInTheStreamsOrder) {
  if (const std::string why = missing(); !why.empty()) GTEST_SKIP() << why;
  const Device device = test_device();
  const Stream stream(device, 1);
  NcclCommunicator ranks(open_nccl(library_), *host_, *watch_, device);
  const std::vector<float> expected = numbers();
  Tensor values = Tensor::of(expected, {kElements}).to(device),
         all = Tensor::zeros(DType::f32, {kElements}, device),
         part = Tensor::zeros(DType::f32, {kElements}, device);
  for (int round = 0; round < 20; ++round) {
    zero(all.view(), stream);
    zero(part.view(), stream);
    Pending sum = ranks.all_reduce(values.view(), ReduceOp::sum, "values", stream);
    Pending gathered = ranks.all_gather_v(values.view(), all.view(), {kElements}, "values", stream);
    gathered.wait();
    Pending scattered = ranks.reduce_scatter_v(all.view(), part.view(), {kElements}, "values", stream);
    sum.wait();
    scattered.wait();
    ranks.broadcast(part.view(), 0, "values", stream).wait();
  }
  EXPECT_TRUE(read(values, stream) == expected);
  EXPECT_TRUE(read(all, stream) == expected);
  EXPECT_TRUE(read(part, stream) == expected);
  EXPECT_EQ(ranks.bytes_received(), 0);
  ranks.finish();
}

TEST_F(NcclAlone, EveryTypeHasItsNumber) {
  if (const std::string why = missing(); !why.empty()) GTEST_SKIP() << why;
  const Device device = test_device();
  const Stream stream(device, 1);
  NcclCommunicator ranks(open_nccl(library_), *host_, *watch_, device);
  for (const DType type : {DType::f32, DType::bf16, DType::i32, DType::i64, DType::u8}) {
    SCOPED_TRACE(name(type));
    // Bytes whose sum with nothing changes none of them; those past the end stay zero.
    constexpr int64_t kBytes = 4096;
    std::vector<uint8_t> bytes(kBytes);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i % 61);
    const Tensor from = Tensor::of(bytes, {kBytes}).to(device);
    Tensor to = Tensor::zeros(DType::u8, {2 * kBytes}, device);
    const int64_t count = kBytes / bytes_of(type, 1);
    const View source{const_cast<std::byte*>(from.data()), type, {count}, device, 0};
    const View target{to.data(), type, {count}, device, 0};
    ranks.all_gather_v(source, target, {count}, "bytes", stream).wait();
    ranks.all_reduce(target, ReduceOp::max, "bytes", stream).wait();
    stream.synchronize();
    const Tensor found = to.to({});
    for (int64_t i = 0; i < 2 * kBytes; ++i) {
      ASSERT_EQ(found.as<uint8_t>()[i], i < kBytes ? bytes[static_cast<size_t>(i)] : 0) << i;
    }
  }
  ranks.finish();
}

}  // namespace
}  // namespace gorgon
