#include "kernels/gemm.h"

#include <algorithm>

#include "kernels/block_linear.h"
#include "kernels/block_panels.h"
#include "kernels/dequantise.h"
#include "kernels/error.h"
#include "kernels/fp8_linear.h"
#include "kernels/transfer.h"
#include "kernels/workspace.h"

namespace gorgon {

namespace {

bool is_float(DType type) {
  return type == DType::f32 || type == DType::bf16;
}

void zero_rows(View c, const Stream& stream) {
  for (int64_t i = 0; i < c.rows(); ++i) {
    View row = c.rows(i, i + 1);
    row.row_stride = 0;
    zero(row, stream);
  }
}

}  // namespace

void gemm(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream) {
  require(a.shape.rank() == 2 && b.shape.rank() == 2 && c.shape.rank() == 2, "gemm", "not a matrix");
  require(is_float(a.type) && a.type == b.type && is_float(c.type), "gemm", "types");
  require(options.write == Write::overwrite || c.type == DType::f32, "gemm", "accumulate needs f32");
  const int64_t m = options.transpose_a ? a.shape[1] : a.shape[0];
  const int64_t k = options.transpose_a ? a.shape[0] : a.shape[1];
  const int64_t n = options.transpose_b ? b.shape[0] : b.shape[1];
  const int64_t k_of_b = options.transpose_b ? b.shape[1] : b.shape[0];
  if (k != k_of_b || c.shape[0] != m || c.shape[1] != n) {
    fail_internal("gemm",
                  "shapes " + to_string(a.shape) + " " + to_string(b.shape) + " " + to_string(c.shape));
  }
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (options.write == Write::overwrite) zero_rows(c, stream);
    return;
  }
  if (stream.device().kind == DeviceKind::cuda) {
    cuda::gemm(a, b, c, options, stream);
  } else {
    cpu::gemm(a, b, c, options, stream);
  }
}

// A few MB at a time, while the blocks stay as they are; a GPU wants more to be busy.
int64_t dequantised_rows(DeviceKind device) {
  return device == DeviceKind::cuda ? 16384 : 1024;
}

void linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream) {
  const GemmOptions options{false, true, write};
  if (weight.type == x.type) {
    gemm(x, weight.view(), y, options, stream);
    return;
  }
  if (weight.type == DType::e4m3) return fp8_linear(x, weight, y, write, stream);
  // Blocks of a CPU are multiplied as they are. Blocks in rows have to be decoded for that: beyond a few rows
  // bf16 units earn back what decoding into memory costs; f32 stays with one way of summing, so that a row's
  // bits do not depend on the others.
  constexpr int64_t kFewRows = 32;
  const bool is_cpu = stream.device().kind == DeviceKind::cpu;
  if (is_cpu && is_block_quantised(weight.type) &&
      (in_panels(weight) || x.type == DType::f32 || x.rows() <= kFewRows)) {
    block_linear(x, weight, y, write, stream);
    return;
  }
  require(y.shape.rank() == 2 && y.shape[1] == weight.rows, "linear", "columns of y");
  const int64_t most = dequantised_rows(x.device.kind);
  Workspace workspace(stream);
  const View part =
      workspace.take("rows of a stored weight", x.type, {std::min(most, weight.rows), weight.columns});
  for (int64_t begin = 0; begin < weight.rows; begin += most) {
    const int64_t end = std::min(begin + most, weight.rows);
    const View rows = part.rows(0, end - begin);
    dequantise(weight, begin, rows, stream);
    gemm(x, rows, y.columns(begin, end), options, stream);
  }
}

}  // namespace gorgon
