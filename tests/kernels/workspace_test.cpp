#include "kernels/workspace.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/loss_sums.h"
#include "kernels/transfer.h"
#include "tests/kernels/on_device.h"

namespace gorgon {
namespace {

TEST(Workspace, GivesTheSameMemoryAgainOnceItHasGrown) {
  const Stream stream(test_device(), 1);
  const auto call = [&] {
    Workspace outer(stream);
    const View a = outer.take("a", DType::f32, {100, 3});
    std::vector<std::byte*> places = {a.data};
    for (int i = 0; i < 2; ++i) {  // the second takes what the first gave back
      Workspace inner(stream);
      places.push_back(inner.take("b", DType::bf16, {1000}).data);
      places.push_back(inner.take("c", DType::i32, {7}).data);
    }
    EXPECT_EQ(places[1], places[3]);
    EXPECT_EQ(places[2], places[4]);
    return places;
  };
  call();
  EXPECT_EQ(stream.arena().peak_bytes(), 1280 + 2048 + 256);  // 1200, 2000 and 28 bytes, in units of 256
  const std::vector<std::byte*> second = call(), third = call();
  EXPECT_EQ(second, third);
  EXPECT_EQ(second[1] - second[0], 1280) << "one block";
  EXPECT_EQ(stream.arena().peak_bytes(), 1280 + 2048 + 256);
}

TEST(Tensor, KeepsItsMemoryWhileItFits) {
  Tensor t(DType::f32, {8, 4}, test_device());
  const std::byte* memory = t.data();
  t.resize({2, 4});
  t.resize({4, 8});
  EXPECT_EQ(t.data(), memory);
  EXPECT_EQ(t.shape(), Shape({4, 8}));
  t.resize({9, 4});
  EXPECT_EQ(t.bytes(), 9 * 4 * 4);
}

TEST(Transfer, CopiesInTheStreamsOrder) {
  const Stream stream(test_device(), 1);
  std::vector<int32_t> values(24);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int32_t>(i) * 7;
  Tensor from(DType::i32, {4, 6}, stream.device()), to(DType::i32, {4, 6}, stream.device());
  upload(values, from.view(), stream);
  zero(to.view(), stream);
  copy_rows(from.view().columns(1, 4), to.view().columns(2, 5), stream);
  Readback readback(to.bytes(), stream.device());
  readback.start(to.data(), stream);
  const auto* result = reinterpret_cast<const int32_t*>(readback.wait());
  for (size_t i = 0; i < 24; ++i) {
    const bool copied = i % 6 >= 2 && i % 6 < 5;
    EXPECT_EQ(result[i], copied ? values[i - 1] : 0) << i;
  }
}

// Against the sums in order, in doubles: another order moves the last bits.
TEST(LossSums, CountRowsWithALabel) {
  constexpr int64_t kRows = 1300;
  const Stream stream(test_device(), 1);
  std::vector<float> max, sum, logit;
  std::vector<int32_t> hits, labels;
  LossSums expected;
  for (int64_t i = 0; i < kRows; ++i) {
    const auto x = static_cast<float>(i % 37);
    max.push_back(x * 0.25f);
    sum.push_back(1.0f + x);
    logit.push_back(x * -0.125f);
    hits.push_back(static_cast<int32_t>(i % 11));
    labels.push_back(i % 5 == 0 ? -100 : static_cast<int32_t>(i));
    if (i % 5 == 0) continue;
    expected.cross_entropy += static_cast<double>(max.back()) + std::log(static_cast<double>(sum.back())) -
                              static_cast<double>(logit.back());
    for (int n = hits.back(); n < 5; ++n) ++expected.top[n];
  }
  const Device device = stream.device();
  Tensor m = Tensor::of(max, {kRows}, device), s = Tensor::of(sum, {kRows}, device),
         y = Tensor::of(logit, {kRows}, device);
  const Tensor h = Tensor::of(hits, {kRows}, device), l = Tensor::of(labels, {kRows}, device);
  Tensor sums(DType::u8, {sizeof(LossSums)}, device);
  for (const Write write : {Write::overwrite, Write::accumulate}) {
    loss_sums({m.view(), s.view(), y.view()}, h.view(), l.view(), write, sums.as<LossSums>(), stream);
    stream.synchronize();
    const Tensor host = sums.to({});
    const double times = write == Write::overwrite ? 1 : 2;
    EXPECT_NEAR(host.as<LossSums>()->cross_entropy, times * expected.cross_entropy, 1e-9);
    for (int n = 0; n < 5; ++n) {
      EXPECT_EQ(host.as<LossSums>()->top[n], static_cast<int64_t>(times) * expected.top[n]) << n;
    }
  }
}

}  // namespace
}  // namespace gorgon
