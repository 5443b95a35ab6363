#include "kernels/dequantise.h"

#include "kernels/block_panels.h"
#include "kernels/error.h"

namespace gorgon {

namespace {

bool is_weight_type(DType type) {
  return type == DType::f32 || type == DType::f16 || type == DType::bf16 || is_block_quantised(type);
}

}  // namespace

void dequantise(ConstView weight, View out, const Stream& stream) {
  constexpr std::string_view kWhere = "dequantise";
  require(is_weight_type(weight.type), kWhere, "weight is of a type that holds no weights");
  require(out.type == DType::f32 || out.type == DType::bf16, kWhere, "out is neither f32 nor bf16");
  require(weight.shape.rank() == 2 && weight.shape == out.shape, kWhere, "weight and out differ in shape");
  require(weight.contiguous(), kWhere, "weight has a row stride");
  require(weight.columns() % traits(weight.type).block_elements == 0, kWhere, "columns are not whole blocks");
  require(weight.device == stream.device() && out.device == stream.device(), kWhere,
          "operands of another device");
  if (weight.elements() == 0) return;
  if (stream.device().kind == DeviceKind::cpu) {
    cpu::dequantise(weight, out, stream);
  } else {
    cuda::dequantise(weight, out, stream);
  }
}

void dequantise(const WeightMatrix& weight, int64_t begin, View out, const Stream& stream) {
  require(!weight.empty() && 0 <= begin && out.rows() <= weight.rows - begin, "dequantise",
          "rows outside the weight");
  if (in_panels(weight)) {
    Tensor rows(DType::f32, {out.rows(), weight.columns});
    for (int64_t i = 0; i < out.rows(); ++i) {
      read_panel_row(weight, begin + i, rows.as<float>() + i * weight.columns);
    }
    dequantise(rows.view(), out, stream);
    return;
  }
  const ConstView all = BasicView<const std::byte>{
      weight.storage->data(), weight.type, {weight.rows, weight.columns}, weight.storage->device(), 0};
  dequantise(ConstView(all.rows(begin, begin + out.rows())), out, stream);
}

}  // namespace gorgon
