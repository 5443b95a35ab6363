#include "kernels/fp8_linear.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "kernels/error.h"
#include "kernels/thread_pool.h"
#include "kernels/workspace.h"

namespace gorgon {

namespace {

constexpr float kLargest = 448.0f, kSmallest = 1e-30f;  // smaller rows are zeros
constexpr int kLeastCapability = 89;

float element(ConstView matrix, int64_t row, int64_t column) {
  const int64_t at = row * matrix.stride() + column;
  return matrix.type == DType::f32 ? matrix.as<float>()[at] : static_cast<float>(matrix.as<bf16>()[at]);
}

std::string found(Device device) {
  if (device.kind == DeviceKind::cpu) return "cpu";
  const int capability = cuda::compute_capability(device.index);
  return to_string(device) + " of " + std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

}  // namespace

uint8_t to_e4m3(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint8_t>(u >> 24 & 0x80u);
  const float magnitude = std::abs(value);
  if (std::isnan(value)) return sign | 0x7fu;
  if (magnitude >= kLargest) return sign | 0x7eu;
  // Below 2^-6 steps are of 2^-9: those of an f32 at 2^14.
  if (magnitude < 0x1p-6f) {
    return static_cast<uint8_t>(sign | (std::bit_cast<uint32_t>(magnitude + 0x1p14f) & 0xfu));
  }
  const uint32_t m = u & 0x7fffffffu;
  const uint32_t rounded = (m + 0x7ffffu + (m >> 20 & 1u)) >> 20;
  return static_cast<uint8_t>(sign | (rounded - (120u << 3)));  // exponents' biases: 127 and 7
}

float from_e4m3(uint8_t code) {
  const uint32_t sign = (code & 0x80u) << 24, exponent = code >> 3 & 0xfu, fraction = code & 7u;
  if ((code & 0x7fu) == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  const float magnitude = exponent == 0 ? static_cast<float>(fraction) * 0x1p-9f
                                        : std::bit_cast<float>((exponent + 120u) << 23 | fraction << 20);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
}

bool has_fp8(Device device) {
  return device.kind == DeviceKind::cuda && cuda::compute_capability(device.index) >= kLeastCapability;
}

void check_fp8(Device device) {
  if (has_fp8(device)) return;
  fail(ExitCode::config, {"", "fp8", "a GPU of compute capability 8.9 or later", found(device),
                          "take the key out; load_in_8bit: true saves the same memory"});
}

WeightMatrix to_fp8(ConstView weight, const Stream& stream) {
  require(weight.shape.rank() == 2 && weight.device == Device{}, "to_fp8", "not a matrix of the CPU");
  require(weight.type == DType::f32 || weight.type == DType::bf16, "to_fp8", "type");
  const int64_t rows = weight.rows(), columns = weight.columns();
  Tensor codes(DType::e4m3, {rows, columns}), scales(DType::f32, {rows});
  stream.threads().parallel_ranges(rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float absmax = 0.0f;
      for (int64_t c = 0; c < columns; ++c) absmax = std::max(absmax, std::abs(element(weight, row, c)));
      const float inverse = absmax > kSmallest ? kLargest / absmax : 0.0f;
      scales.as<float>()[row] = absmax / kLargest;
      for (int64_t c = 0; c < columns; ++c) {
        codes.data()[row * columns + c] = std::byte{to_e4m3(element(weight, row, c) * inverse)};
      }
    }
  });
  return {DType::e4m3, rows, columns, std::make_shared<const Tensor>(std::move(codes)),
          std::make_shared<const Tensor>(std::move(scales))};
}

void fp8_linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream) {
  constexpr std::string_view kWhere = "fp8_linear";
  require(x.type == DType::bf16 && (y.type == DType::bf16 || y.type == DType::f32), kWhere, "types");
  require(write == Write::overwrite || y.type == DType::f32, kWhere, "accumulate needs f32");
  require(weight.type == DType::e4m3 && weight.scales != nullptr, kWhere, "weight is not e4m3");
  require(x.columns() == weight.columns && y.columns() == weight.rows && x.rows() == y.rows(), kWhere,
          "shapes");
  require(weight.columns % 16 == 0 && weight.rows % 16 == 0, kWhere, "sizes are no multiples of 16");
  require(has_fp8(stream.device()), kWhere, "the device has no fp8");
  if (x.rows() == 0 || y.columns() == 0) return;
  Workspace workspace(stream);
  const View codes = workspace.take("rows in fp8", DType::e4m3, {x.rows(), x.columns()});
  const View scales = workspace.take("scales of rows in fp8", DType::f32, {x.rows()});
  const bool in_place = y.type == DType::bf16;
  const View product = in_place ? y : workspace.take("product of fp8", DType::bf16, {y.rows(), y.columns()});
  cuda::quantise_rows(x, codes, scales, stream);
  cuda::gemm(codes, weight.view(), product, {.transpose_b = true}, stream);
  cuda::scale_product(product, scales, weight.scales->view(), y, write, stream);
}

int64_t fp8_workspace_bytes(int64_t rows, int64_t columns, int64_t outputs, DType y) {
  const int64_t product = y == DType::bf16 ? 0 : bytes_of(DType::bf16, rows * outputs);
  return Arena::padded(bytes_of(DType::e4m3, rows * columns)) + Arena::padded(bytes_of(DType::f32, rows)) +
         Arena::padded(product);
}

}  // namespace gorgon
