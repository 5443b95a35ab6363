#include <algorithm>

#include "kernels/resblock.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/resblock_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::load;
using simd::HWY_NAMESPACE::over;
using simd::HWY_NAMESPACE::sigmoid;
using simd::HWY_NAMESPACE::store;

template <typename T>
void forward_row(float* u, const T* bias, const T* x, T* y, int64_t n) {
  over(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = hn::Add(load(d, u + i), load(d, bias + i));
    store(d, v, u + i);
    store(d, hn::Add(load(d, x + i), hn::Mul(v, sigmoid(d, v))), y + i);
  });
}

void forward_row_of(DType type, float* u, const std::byte* bias, const std::byte* x, std::byte* y,
                    int64_t n) {
  if (type == DType::f32) {
    forward_row(u, reinterpret_cast<const float*>(bias), reinterpret_cast<const float*>(x),
                reinterpret_cast<float*>(y), n);
  } else {
    forward_row(u, reinterpret_cast<const bf16*>(bias), reinterpret_cast<const bf16*>(x),
                reinterpret_cast<bf16*>(y), n);
  }
}

// silu'(u) = s (1 + u (1 - s)), s = sigmoid(u)
template <typename T>
void backward_row(const float* dy, const float* u, T* du, float* sums, int64_t n) {
  over(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto one = hn::Set(d, 1.0f);
    const auto v = load(d, u + i);
    const auto s = sigmoid(d, v);
    const auto slope = hn::Mul(s, hn::MulAdd(v, hn::Sub(one, s), one));
    const auto g = hn::Mul(load(d, dy + i), slope);
    store(d, g, du + i);
    store(d, hn::Add(load(d, sums + i), g), sums + i);
  });
}

void backward_row_of(DType type, const float* dy, const float* u, std::byte* du, float* sums, int64_t n) {
  if (type == DType::f32) {
    backward_row(dy, u, reinterpret_cast<float*>(du), sums, n);
  } else {
    backward_row(dy, u, reinterpret_cast<bf16*>(du), sums, n);
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(forward_row_of);
HWY_EXPORT(backward_row_of);

void resblock_forward(View u, ConstView bias, ConstView x, View y, const Stream& stream) {
  const auto row = HWY_DYNAMIC_DISPATCH(forward_row_of);
  stream.threads().parallel_ranges(u.rows(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      row(x.type, u.as<float>() + i * u.stride(), bias.data, x.data + bytes_of(x.type, i * x.stride()),
          y.data + bytes_of(y.type, i * y.stride()), u.shape[1]);
    }
  });
}

// A thread takes a block of columns through all rows, so that the sums have one order.
void resblock_backward(ConstView dy, ConstView u, View du, View dbias, Write write, const Stream& stream) {
  constexpr int64_t kColumns = 128;
  const auto row = HWY_DYNAMIC_DISPATCH(backward_row_of);
  stream.threads().parallel_ranges(u.shape[1], kColumns, [&](int64_t begin, int64_t end) {
    float* sums = dbias.as<float>() + begin;
    if (write == Write::overwrite) std::fill(sums, sums + (end - begin), 0.0f);
    for (int64_t i = 0; i < u.rows(); ++i) {
      row(du.type, dy.as<float>() + i * dy.stride() + begin, u.as<float>() + i * u.stride() + begin,
          du.data + bytes_of(du.type, i * du.stride() + begin), sums, end - begin);
    }
  });
}

}  // namespace gorgon::cpu
#endif  // HWY_ONCE
