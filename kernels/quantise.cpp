#include "kernels/quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "kernels/code_map.h"
#include "kernels/error.h"
#include "kernels/thread_pool.h"

namespace gorgon {

namespace {

constexpr int64_t kBlock = 64, kAbsmaxBlock = 256;

float value(ConstView weight, int64_t row, int64_t column) {
  const int64_t at = row * weight.stride() + column;
  return weight.type == DType::f32 ? weight.as<float>()[at] : static_cast<float>(weight.as<bf16>()[at]);
}

float absmax_of(ConstView weight, int64_t row, int64_t begin, int64_t end) {
  float highest = 0.0f;
  for (int64_t c = begin; c < end; ++c) highest = std::max(highest, std::abs(value(weight, row, c)));
  return highest;
}

// What 8 bits behind the mean give back.
void round_trip(std::vector<float>& absmax) {
  const double sum = std::accumulate(absmax.begin(), absmax.end(), 0.0);
  const auto mean = static_cast<float>(sum / static_cast<double>(absmax.size()));
  const CodeMap& map = signed_code_map();
  for (size_t begin = 0; begin < absmax.size(); begin += kAbsmaxBlock) {
    const size_t end = std::min(absmax.size(), begin + kAbsmaxBlock);
    float highest = 0.0f;
    for (size_t i = begin; i < end; ++i) highest = std::max(highest, std::abs(absmax[i] - mean));
    for (size_t i = begin; i < end; ++i) {
      const float scaled = highest > 0.0f ? (absmax[i] - mean) / highest : 0.0f;
      absmax[i] = map.values[map.nearest(scaled)] * highest + mean;
    }
  }
}

int nf4_code(float scaled) {
  int code = 0;
  while (code < 15 && scaled > (kNf4Values[code] + kNf4Values[code + 1]) / 2.0f) ++code;
  return code;
}

void nf4_block(ConstView weight, int64_t row, int64_t begin, float absmax, float stored_absmax,
               std::byte* to) {
  std::memcpy(to, &stored_absmax, sizeof stored_absmax);
  const float inverse = 1.0f / std::max(absmax, 1e-38f);
  for (int64_t i = 0; i < kBlock; i += 2) {
    const auto code = [&](int64_t at) {
      return nf4_code(std::clamp(value(weight, row, begin + at) * inverse, -1.0f, 1.0f));
    };
    to[4 + i / 2] = static_cast<std::byte>(code(i) << 4 | code(i + 1));
  }
}

void int8_row(ConstView weight, int64_t row, std::byte* to) {
  const int64_t columns = weight.columns();
  const float absmax = absmax_of(weight, row, 0, columns);
  const float scale = absmax > 0.0f ? 127.0f / absmax : 0.0f;
  for (int64_t begin = 0; begin < columns; begin += kBlock, to += bytes_of(DType::int8_row, kBlock)) {
    std::memcpy(to, &absmax, sizeof absmax);
    for (int64_t i = 0; i < kBlock; ++i) {
      const auto q = static_cast<int8_t>(std::nearbyint(value(weight, row, begin + i) * scale));
      to[4 + i] = static_cast<std::byte>(q);
    }
  }
}

}  // namespace

DType stored_type(Quantisation how) {
  require(how != Quantisation::none, "stored_type", "no quantisation");
  if (how == Quantisation::fp8) return DType::e4m3;
  return how == Quantisation::int8 ? DType::int8_row : DType::nf4;
}

Tensor quantise(ConstView weight, Quantisation how, const Stream& stream) {
  require(weight.shape.rank() == 2 && weight.columns() % kBlock == 0, "quantise",
          "columns are not whole blocks of 64");
  require(weight.type == DType::f32 || weight.type == DType::bf16, "quantise", "type");
  require(weight.device == Device{}, "quantise", "a matrix that is not on the CPU");
  require(how != Quantisation::fp8, "quantise", "fp8");
  const DType type = stored_type(how);
  const int64_t rows = weight.rows(), blocks = weight.columns() / kBlock;
  Tensor stored(DType::u8, {bytes_of(type, weight.elements())});
  const int64_t row_bytes = bytes_of(type, weight.columns()), block_bytes = bytes_of(type, kBlock);
  const auto for_rows = [&](const auto& body) {
    stream.threads().parallel_ranges(rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) body(row);
    });
  };
  if (how == Quantisation::int8) {
    for_rows([&](int64_t row) { int8_row(weight, row, stored.data() + row * row_bytes); });
    return stored;
  }
  std::vector<float> absmax(static_cast<size_t>(rows * blocks));
  for_rows([&](int64_t row) {
    for (int64_t b = 0; b < blocks; ++b) {
      absmax[static_cast<size_t>(row * blocks + b)] = absmax_of(weight, row, b * kBlock, (b + 1) * kBlock);
    }
  });
  std::vector<float> kept = absmax;
  if (how == Quantisation::nf4_double && !kept.empty()) round_trip(kept);
  for_rows([&](int64_t row) {
    for (int64_t b = 0; b < blocks; ++b) {
      const auto at = static_cast<size_t>(row * blocks + b);
      nf4_block(weight, row, b * kBlock, absmax[at], kept[at],
                stored.data() + row * row_bytes + b * block_bytes);
    }
  });
  return stored;
}

}  // namespace gorgon
