#include "kernels/dequantise.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "kernels/error.h"

// That every type's formula is right is shown on golden files in tests/data/gguf_test.cpp.
namespace gorgon {
namespace {

const std::vector<DType> kTypes = {DType::f32,  DType::f16,  DType::bf16, DType::q4_0,
                                   DType::q4_1, DType::q5_0, DType::q5_1, DType::q8_0,
                                   DType::q4_k, DType::q5_k, DType::q6_k};

// Random stored bytes whose 16-bit words are all small numbers as f16, so that every scale is finite.
std::vector<std::byte> stored_bytes(DType type, int64_t elements, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(static_cast<size_t>(bytes_of(type, elements)));
  for (std::byte& b : bytes) b = static_cast<std::byte>(random() & 0x3fu);
  return bytes;
}

ConstView view_of(const std::byte* data, DType type, int64_t rows, int64_t columns) {
  return BasicView<const std::byte>{data, type, {rows, columns}, {}, 0};
}

TEST(Dequantise, Bf16IsTheRoundedF32) {
  const Stream stream;
  for (const DType type : kTypes) {
    SCOPED_TRACE(name(type));
    const auto stored = stored_bytes(type, 5 * 768, 1);
    Tensor exact(DType::f32, {5, 768});
    Tensor rounded(DType::bf16, {5, 768});
    dequantise(view_of(stored.data(), type, 5, 768), exact.view(), stream);
    dequantise(view_of(stored.data(), type, 5, 768), rounded.view(), stream);
    for (int64_t i = 0; i < exact.elements(); ++i) {
      ASSERT_TRUE(std::isfinite(exact.as<float>()[i]));
      ASSERT_EQ(rounded.as<bf16>()[i].bits, bf16(exact.as<float>()[i]).bits);
    }
  }
}

TEST(Dequantise, EveryHalfGivesItsValue) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  std::vector<float> out(halves.size());
  dequantise_elements(DType::f16, reinterpret_cast<const std::byte*>(halves.data()), 65536, DType::f32,
                      out.data());
  for (const uint16_t h : halves) {
    ASSERT_EQ(std::bit_cast<uint32_t>(out[h]), std::bit_cast<uint32_t>(f16_to_f32(h))) << h;
  }
}

TEST(Dequantise, RowsStridesAlignmentAndThreadsChangeNothing) {
  const Stream one({}, 1);
  const Stream three({}, 3);
  constexpr int64_t kRows = 400;
  constexpr int64_t kColumns = 512;
  for (const DType type : kTypes) {
    SCOPED_TRACE(name(type));
    const auto stored = stored_bytes(type, kRows * kColumns, 2);
    Tensor whole(DType::f32, {kRows, kColumns});
    dequantise(view_of(stored.data(), type, kRows, kColumns), whole.view(), one);

    std::vector<std::byte> shifted(stored.size() + 1);
    std::memcpy(shifted.data() + 1, stored.data(), stored.size());
    Tensor wide = Tensor::zeros(DType::f32, {kRows, kColumns + 8});
    dequantise(view_of(shifted.data() + 1, type, kRows, kColumns), wide.view().columns(8, 8 + kColumns),
               three);
    for (int64_t r = 0; r < kRows; ++r) {
      const float* row = wide.as<float>() + r * (kColumns + 8);
      ASSERT_EQ(std::memcmp(row + 8, whole.as<float>() + r * kColumns, kColumns * sizeof(float)), 0);
      ASSERT_EQ(row[7], 0.0f);
    }

    auto storage = std::make_shared<Tensor>(DType::u8, Shape{static_cast<int64_t>(stored.size())});
    std::memcpy(storage->data(), stored.data(), stored.size());
    const WeightMatrix matrix{type, kRows, kColumns, storage};
    Tensor part(DType::f32, {7, kColumns});
    dequantise(matrix, 390, part.view(), three);
    EXPECT_EQ(std::memcmp(part.data(), whole.as<float>() + 390 * kColumns, static_cast<size_t>(part.bytes())),
              0);
  }
}

TEST(Dequantise, WrongOperandsAreDefects) {
  const Stream stream;
  const auto stored = stored_bytes(DType::q8_0, 64, 3);
  Tensor out(DType::f32, {2, 32});
  Tensor narrow(DType::f32, {2, 16});
  Tensor integers(DType::i32, {2, 32});
  const auto expect_internal = [&](ConstView weight, View to) {
    try {
      dequantise(weight, to, stream);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::internal);
    }
  };
  expect_internal(view_of(stored.data(), DType::q8_0, 2, 32), narrow.view());
  expect_internal(view_of(stored.data(), DType::q8_0, 2, 16), narrow.view());
  expect_internal(view_of(stored.data(), DType::q8_0, 2, 32), integers.view());
  expect_internal(view_of(stored.data(), DType::i32, 2, 16), narrow.view());
  EXPECT_NO_THROW(dequantise(view_of(stored.data(), DType::q8_0, 2, 32), out.view(), stream));
}

}  // namespace
}  // namespace gorgon
