#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/dequantise.h"
#include "tests/kernels/on_device.h"

namespace gorgon {
namespace {

void dequantise_view(ConstView weight, View out, const Stream& stream) {
  dequantise(weight, out, stream);
}

// The GPU's values have the bits of the CPU's, whose formulas stand in tests/data/gguf_test.cpp: every type,
// stored at an odd address, with and without room for wide stores.
TEST(DequantiseOnGpu, HasTheBitsOfTheCpu) {
  const Stream host({}, 1), device(test_device(), 1);
  std::mt19937 random(1);
  for (const DType type :
       {DType::f32, DType::f16, DType::bf16, DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1, DType::q8_0,
        DType::q4_k, DType::q5_k, DType::q6_k, DType::nf4, DType::int8_row}) {
    SCOPED_TRACE(name(type));
    constexpr int64_t kRows = 3, kColumns = 512;
    std::vector<std::byte> stored(static_cast<size_t>(bytes_of(type, kRows * kColumns)));
    for (std::byte& b : stored) b = static_cast<std::byte>(random());
    std::vector<std::byte> shifted(stored.size() + 1);
    std::memcpy(shifted.data() + 1, stored.data(), stored.size());
    const BasicView<const std::byte> weight{shifted.data() + 1, type, {kRows, kColumns}, {}, 0};
    for (const DType out : {DType::f32, DType::bf16}) {
      for (const int64_t spare : {0, 3}) {
        Tensor expected = Tensor::zeros(out, {kRows, kColumns + spare}),
               result = Tensor::zeros(out, {kRows, kColumns + spare});
        dequantise(ConstView(weight), expected.view().columns(0, kColumns), host);
        on_device(device, dequantise_view, weight, result.view().columns(0, kColumns));
        for (int64_t i = 0; i < expected.elements(); ++i) {
          const float a =
              out == DType::f32 ? expected.as<float>()[i] : static_cast<float>(expected.as<bf16>()[i]);
          const float b =
              out == DType::f32 ? result.as<float>()[i] : static_cast<float>(result.as<bf16>()[i]);
          if (std::isnan(a)) {
            ASSERT_TRUE(std::isnan(b)) << i;
          } else {
            ASSERT_EQ(std::bit_cast<uint32_t>(a), std::bit_cast<uint32_t>(b)) << i;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace gorgon
