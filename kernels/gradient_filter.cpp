#include "kernels/gradient_filter.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/error.h"
#include "kernels/thread_pool.h"

namespace gorgon {

namespace {

void check(ConstView matrix, const Stream& stream, const char* where) {
  require(stream.device().kind == DeviceKind::cpu, where, "a GPU");
  require(matrix.shape.rank() == 2 && (matrix.type == DType::f32 || matrix.type == DType::bf16), where,
          "no f32 or bf16 matrix");
}

template <typename T>
using Bits = std::conditional_t<sizeof(T) == 2, uint16_t, uint32_t>;

// Bits of the smallest T that is not below `least`; those of positive numbers rise with them.
template <typename T>
Bits<T> least_bits(float least) {
  const auto bits = std::bit_cast<uint32_t>(least);
  if constexpr (sizeof(T) == 4) return bits;
  return static_cast<uint16_t>((bits + 0xffffu) >> 16);
}

// found[j] |= |row[j]| >= least
template <typename T>
void mark(const T* row, int64_t n, float least, Bits<T>* found) {
  constexpr Bits<T> kMagnitude = std::numeric_limits<Bits<T>>::max() >> 1;
  const Bits<T> least_of_row = least_bits<T>(least);
  for (int64_t j = 0; j < n; ++j) {
    Bits<T> bits;
    std::memcpy(&bits, row + j, sizeof(bits));
    found[j] = static_cast<Bits<T>>(found[j] | ((bits & kMagnitude) >= least_of_row));
  }
}

template <typename T>
std::vector<int32_t> columns_above(ConstView gradient, const float* row_scale, float threshold,
                                   const Stream& stream) {
  constexpr int64_t kColumns = 2048;  // whose marks stay in the first-level cache
  const int64_t columns = gradient.shape[1];
  std::vector<Bits<T>> found(static_cast<size_t>(columns));
  stream.threads().parallel_ranges(columns, kColumns, [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < gradient.shape[0]; ++i) {
      if (!(row_scale[i] > 0.0f)) continue;
      mark(gradient.as<T>() + i * gradient.stride() + begin, end - begin, threshold * row_scale[i],
           found.data() + begin);
    }
  });
  std::vector<int32_t> kept;
  for (int64_t j = 0; j < columns; ++j) {
    if (found[static_cast<size_t>(j)] != 0) kept.push_back(static_cast<int32_t>(j));
  }
  return kept;
}

template <typename T>
void keep(T* row, const std::vector<int32_t>& columns, int64_t padded) {
  size_t t = 0;
  for (; t < columns.size(); ++t) row[t] = row[columns[t]];
  std::fill(row + t, row + padded, T{});
}

}  // namespace

std::vector<int32_t> columns_above(ConstView gradient, ConstView row_scale, float threshold,
                                   const Stream& stream) {
  check(gradient, stream, "columns_above");
  require(row_scale.type == DType::f32 && row_scale.elements() == gradient.rows(), "columns_above",
          "row_scale is not f32[R]");
  require(threshold >= 0.0f, "columns_above", "threshold");
  const auto* scale = row_scale.as<float>();
  return gradient.type == DType::f32 ? columns_above<float>(gradient, scale, threshold, stream)
                                     : columns_above<bf16>(gradient, scale, threshold, stream);
}

void keep_columns(View gradient, const std::vector<int32_t>& columns, int64_t padded, const Stream& stream) {
  check(gradient, stream, "keep_columns");
  require(std::ssize(columns) <= padded && padded <= gradient.shape[1], "keep_columns", "columns");
  stream.threads().parallel_ranges(gradient.rows(), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (gradient.type == DType::f32) {
        keep(gradient.as<float>() + i * gradient.stride(), columns, padded);
      } else {
        keep(gradient.as<bf16>() + i * gradient.stride(), columns, padded);
      }
    }
  });
}

void scatter_rows(ConstView from, const std::vector<int32_t>& index, View to, Write write,
                  const Stream& stream) {
  check(to, stream, "scatter_rows");
  require(from.type == to.type && from.shape[1] == to.shape[1] && from.rows() >= std::ssize(index),
          "scatter_rows", "types or shapes");
  require(write == Write::overwrite || to.type == DType::f32, "scatter_rows", "sums are kept in f32 alone");
  const int64_t columns = to.shape[1], bytes = bytes_of(to.type, columns);
  stream.threads().parallel_ranges(std::ssize(index), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = index[static_cast<size_t>(i)];
      require(row >= 0 && row < to.rows(), "scatter_rows", "an index outside the matrix");
      const std::byte* source = from.data + bytes_of(from.type, i * from.stride());
      std::byte* target = to.data + bytes_of(to.type, row * to.stride());
      if (write == Write::overwrite) {
        std::memcpy(target, source, static_cast<size_t>(bytes));
        continue;
      }
      const auto* add = reinterpret_cast<const float*>(source);
      auto* sum = reinterpret_cast<float*>(target);
      for (int64_t j = 0; j < columns; ++j) sum[j] += add[j];
    }
  });
}

}  // namespace gorgon
