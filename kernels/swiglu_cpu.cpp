#include "kernels/swiglu.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/swiglu_cpu.cpp"
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
void gated(const T* gate, const T* up, int64_t n, T* y) {
  over(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto z = load(d, gate + i);
    store(d, hn::Mul(hn::Mul(z, sigmoid(d, z)), load(d, up + i)), y + i);
  });
}

void gated_rows(ConstView gate_up, View y, int64_t begin, int64_t end) {
  const int64_t n = y.columns();
  for (int64_t i = begin; i < end; ++i) {
    if (y.type == DType::f32) {
      const float* gate = gate_up.as<float>() + i * gate_up.stride();
      gated(gate, gate + n, n, y.as<float>() + i * y.stride());
    } else {
      const bf16* gate = gate_up.as<bf16>() + i * gate_up.stride();
      gated(gate, gate + n, n, y.as<bf16>() + i * y.stride());
    }
  }
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(gated_rows);

void swiglu(ConstView gate_up, View y, const Stream& stream) {
  stream.threads().parallel_ranges(y.rows(), 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(gated_rows)(gate_up, y, begin, end);
  });
}

}  // namespace gorgon::cpu
#endif
