#include "kernels/rotary_embedding.h"

#include <cmath>

#include "kernels/error.h"

namespace gorgon {

RotaryTable rotary_table(int64_t head_dim, float theta, const std::vector<float>& factors, int64_t positions,
                         Device device) {
  const int64_t half = head_dim / 2;
  require(head_dim > 0 && head_dim % 2 == 0, "rotary_table", "odd head_dim");
  require(factors.empty() || static_cast<int64_t>(factors.size()) == half, "rotary_table", "factors");
  Tensor cosines(DType::f32, {positions, half}), sines(DType::f32, {positions, half});
  for (int64_t i = 0; i < half; ++i) {
    float frequency = 1.0f / std::pow(theta, static_cast<float>(2 * i) / static_cast<float>(head_dim));
    if (!factors.empty()) frequency /= factors[static_cast<size_t>(i)];
    for (int64_t p = 0; p < positions; ++p) {
      const double angle = static_cast<float>(p) * frequency;
      cosines.as<float>()[p * half + i] = static_cast<float>(std::cos(angle));
      sines.as<float>()[p * half + i] = static_cast<float>(std::sin(angle));
    }
  }
  if (device == Device{}) return {std::move(cosines), std::move(sines)};
  constexpr Purpose kTable{"the table of rotary angles"};
  return {cosines.to(device, kTable), sines.to(device, kTable)};
}

void rotary_embedding(View x, int64_t head_dim, ConstView positions, const RotaryTable& table,
                      const Stream& stream) {
  require(x.shape.rank() == 2 && x.columns() % head_dim == 0 && positions.elements() == x.rows(),
          "rotary_embedding", "shapes");
  require(table.cos.shape()[1] * 2 == head_dim && positions.type == DType::i32, "rotary_embedding", "table");
  require(x.type == DType::f32 || x.type == DType::bf16, "rotary_embedding", "type of x");
  if (x.elements() == 0) return;
  if (stream.device().kind == DeviceKind::cuda) {
    cuda::rotary_embedding(x, head_dim, positions, table, stream);
  } else {
    cpu::rotary_embedding(x, head_dim, positions, table, stream);
  }
}

}  // namespace gorgon
