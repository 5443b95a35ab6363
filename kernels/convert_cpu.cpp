#include <cstring>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convert_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gorgon::cpu::HWY_NAMESPACE {

using simd::HWY_NAMESPACE::load;
using simd::HWY_NAMESPACE::over;
using simd::HWY_NAMESPACE::store;

void narrow(const float* from, bf16* to, int64_t n) {
  over(n, [&](auto d, int64_t i) HWY_ATTR { store(d, load(d, from + i), to + i); });
}

void widen(const bf16* from, float* to, int64_t n) {
  over(n, [&](auto d, int64_t i) HWY_ATTR { store(d, load(d, from + i), to + i); });
}

}  // namespace gorgon::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gorgon::cpu {

HWY_EXPORT(narrow);
HWY_EXPORT(widen);

void convert(ConstView from, View to, const Stream& stream) {
  constexpr int64_t kPiece = 1 << 16;
  stream.threads().parallel_ranges(to.elements(), kPiece, [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    if (from.type == to.type) {
      std::memcpy(to.data + bytes_of(to.type, begin), from.data + bytes_of(from.type, begin),
                  static_cast<size_t>(bytes_of(to.type, n)));
    } else if (to.type == DType::bf16) {
      HWY_DYNAMIC_DISPATCH(narrow)(from.as<float>() + begin, to.as<bf16>() + begin, n);
    } else {
      HWY_DYNAMIC_DISPATCH(widen)(from.as<bf16>() + begin, to.as<float>() + begin, n);
    }
  });
}

void gather_rows(ConstView from, ConstView index, View to, const Stream& stream) {
  const int64_t bytes = bytes_of(to.type, to.shape[1]);
  stream.threads().parallel_ranges(to.rows(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int32_t row = index.as<int32_t>()[i];
      require(row >= 0 && row < from.rows(), "gather_rows", "an index outside the table");
      std::memcpy(to.data + bytes_of(to.type, i * to.stride()),
                  from.data + bytes_of(from.type, row * from.stride()), static_cast<size_t>(bytes));
    }
  });
}

}  // namespace gorgon::cpu
#endif  // HWY_ONCE
