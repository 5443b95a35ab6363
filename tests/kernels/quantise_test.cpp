#include "kernels/quantise.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/dequantise.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

constexpr int64_t kRows = 72, kColumns = 256;

// tests/golden/quantise, made by tests/oracle/quantise.py.
Tensor golden(const std::string& name) {
  Tensor matrix(DType::bf16, {kRows, kColumns});
  std::ifstream file(GORGON_TEST_DATA "/quantise/" + name, std::ios::binary);
  file.read(reinterpret_cast<char*>(matrix.data()), matrix.bytes());
  EXPECT_EQ(file.gcount(), matrix.bytes()) << name;
  return matrix;
}

Tensor there_and_back(const Tensor& weight, Quantisation how, int threads) {
  const Stream stream({}, threads);
  const WeightMatrix stored{stored_type(how), weight.shape()[0], weight.shape()[1],
                            std::make_shared<const Tensor>(quantise(weight.view(), how, stream))};
  Tensor back(DType::bf16, weight.shape());
  dequantise(stored, 0, back.view(), stream);
  return back;
}

struct Case {
  Quantisation how;
  std::string file;
  // Values that may differ: a mean of absmax summed in another order moves all by 2^-24, and with it the
  // rounding of some to bf16 by one ulp; int8 goes through f16 there.
  int most_others;
};

class QuantiseLikeBitsandbytes : public testing::TestWithParam<Case> {};

TEST_P(QuantiseLikeBitsandbytes, GivesBackTheSameValues) {
  const Tensor expected = golden(GetParam().file),
               result = there_and_back(golden("weight.bin"), GetParam().how, 2);
  int others = 0;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const bf16 e = expected.as<bf16>()[i], r = result.as<bf16>()[i];
    if (i / kColumns == 5) {  // a row of zeros, for which int8 has no answer there
      ASSERT_EQ(static_cast<float>(r), 0.0f);
    } else if (static_cast<float>(e) != static_cast<float>(r)) {
      ++others;
      ASSERT_LE(std::abs(static_cast<int>(e.bits) - static_cast<int>(r.bits)), 1) << i;
    }
  }
  EXPECT_LE(others, GetParam().most_others);
}

INSTANTIATE_TEST_SUITE_P(Kinds, QuantiseLikeBitsandbytes,
                         testing::Values(Case{Quantisation::nf4, "nf4.bin", 0},
                                         Case{Quantisation::nf4_double, "nf4_double.bin", 18},
                                         Case{Quantisation::int8, "int8.bin", 18}));

TEST(Quantise, DoesNotDependOnTheThreads) {
  const Tensor weight = golden("weight.bin");
  const Stream one({}, 1), three({}, 3);
  for (const Quantisation how : {Quantisation::nf4, Quantisation::nf4_double, Quantisation::int8}) {
    const Tensor a = quantise(weight.view(), how, one), b = quantise(weight.view(), how, three);
    EXPECT_EQ(std::memcmp(a.data(), b.data(), static_cast<size_t>(a.bytes())), 0);
  }
}

TEST(Quantise, TakesF32AndBf16Alike) {
  const Tensor narrow = golden("weight.bin");
  Tensor wide(DType::f32, narrow.shape());
  for (int64_t i = 0; i < wide.elements(); ++i)
    wide.as<float>()[i] = static_cast<float>(narrow.as<bf16>()[i]);
  const Stream stream({}, 2);
  const Tensor a = quantise(narrow.view(), Quantisation::nf4_double, stream);
  const Tensor b = quantise(wide.view(), Quantisation::nf4_double, stream);
  EXPECT_EQ(std::memcmp(a.data(), b.data(), static_cast<size_t>(a.bytes())), 0);
}

TEST(Quantise, RefusesPartsOfBlocks) {
  const Tensor weight = Tensor::zeros(DType::f32, {2, 65});
  EXPECT_THROW(quantise(weight.view(), Quantisation::nf4, Stream({}, 1)), Error);
}

}  // namespace
}  // namespace gorgon
