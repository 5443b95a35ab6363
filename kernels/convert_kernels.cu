#include "kernels/convert.h"
#include "kernels/cuda/elementwise.h"

namespace gorgon::cuda {

namespace {

template <typename From, typename To, int N>
__global__ void convert_kernel(const From* from, To* to, int64_t n) {
  for_each_pack<N>(1, n, [&](int64_t, int64_t i) {
    const auto in = load_pack<N>(from + i);
    Pack<To, N> out;
    for (int j = 0; j < N; ++j) out.value[j] = from_float<To>(to_float(in.value[j]));
    store_pack(to + i, out);
  });
}

template <typename From, typename To>
void run_convert(ConstView from, View to, const Stream& stream) {
  const int64_t n = to.elements();
  const bool packs = allows_packs<4>(as_row(from), as_row(to));
  const auto [grid, block] = elementwise_grid(1, n, packs ? 4 : 1);
  launch(packs ? convert_kernel<From, To, 4> : convert_kernel<From, To, 1>, grid, block, 0, stream,
         from.as<From>(), to.as<To>(), n);
}

template <typename Unit>
__global__ void gather_rows_kernel(const Unit* from, int64_t from_stride, int64_t from_rows,
                                   const int32_t* index, Unit* to, int64_t to_stride, int64_t rows,
                                   int64_t columns) {
  for_each_pack<1>(rows, columns, [&](int64_t row, int64_t column) {
    const int64_t source = index[row];
    // The host cannot be asked from here: a row that is not there is read as one of NaN.
    Unit value;
    if (source >= 0 && source < from_rows) {
      value = from[source * from_stride + column];
    } else {
      for (auto& byte : value.value) byte = static_cast<uint8_t>(0xff);
    }
    to[row * to_stride + column] = value;
  });
}

template <int N>
void run_gather(ConstView from, ConstView index, View to, const Stream& stream) {
  using Unit = Pack<uint8_t, N>;
  const auto units = [&](int64_t elements) { return bytes_of(from.type, elements) / N; };
  const int64_t columns = units(to.columns());
  const auto [grid, block] = elementwise_grid(to.rows(), columns, 1);
  launch(gather_rows_kernel<Unit>, grid, block, 0, stream, from.as<Unit>(), units(from.stride()), from.rows(),
         index.as<int32_t>(), to.as<Unit>(), units(to.stride()), to.rows(), columns);
}

}  // namespace

void convert(ConstView from, View to, const Stream& stream) {
  if (from.type == DType::f32) {
    to.type == DType::f32 ? run_convert<float, float>(from, to, stream)
                          : run_convert<float, bf16>(from, to, stream);
  } else {
    to.type == DType::f32 ? run_convert<bf16, float>(from, to, stream)
                          : run_convert<bf16, bf16>(from, to, stream);
  }
}

void gather_rows(ConstView from, ConstView index, View to, const Stream& stream) {
  const auto in_16_bytes = [](const auto& view) {
    return reinterpret_cast<uintptr_t>(view.data) % 16 == 0 &&
           bytes_of(view.type, view.columns()) % 16 == 0 && bytes_of(view.type, view.stride()) % 16 == 0;
  };
  in_16_bytes(from) && in_16_bytes(to) ? run_gather<16>(from, index, to, stream)
                                       : run_gather<1>(from, index, to, stream);
}

}  // namespace gorgon::cuda
