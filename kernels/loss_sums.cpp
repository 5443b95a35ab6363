#include "kernels/loss_sums.h"

#include <cmath>

#include "kernels/error.h"

namespace gorgon {

void loss_sums(const CrossEntropyStatistics& statistics, ConstView hits, ConstView labels, Write write,
               LossSums* sums, const Stream& stream) {
  const int64_t rows = labels.elements();
  require(labels.type == DType::i32 && hits.type == DType::i32 && hits.elements() == rows, "loss_sums",
          "labels or hits are not i32[R]");
  for (const View& v : {statistics.max, statistics.sum, statistics.label_logit}) {
    require(v.type == DType::f32 && v.elements() == rows, "loss_sums", "statistics are not f32[R]");
  }
  (stream.device().kind == DeviceKind::cuda ? cuda::loss_sums : cpu::loss_sums)(statistics, hits, labels,
                                                                                write, sums, stream);
}

void cpu::loss_sums(const CrossEntropyStatistics& statistics, ConstView hits, ConstView labels, Write write,
                    LossSums* sums, const Stream&) {
  if (write == Write::overwrite) *sums = {};
  for (int64_t i = 0; i < labels.elements(); ++i) {
    if (labels.as<int32_t>()[i] < 0) continue;
    sums->cross_entropy += static_cast<double>(statistics.max.as<float>()[i]) +
                           std::log(static_cast<double>(statistics.sum.as<float>()[i])) -
                           static_cast<double>(statistics.label_logit.as<float>()[i]);
    for (int n = hits.as<int32_t>()[i]; n < 5; ++n) ++sums->top[n];
  }
}

void add_losses(const LossSums* parts, int n, int heads, LossSums* to, const Stream& stream) {
  (stream.device().kind == DeviceKind::cuda ? cuda::add_losses : cpu::add_losses)(parts, n, heads, to,
                                                                                  stream);
}

void cpu::add_losses(const LossSums* parts, int n, int heads, LossSums* to, const Stream&) {
  for (int k = 0; k < heads; ++k) {
    to[k] = {};
    for (int r = 0; r < n; ++r) {
      const LossSums& part = parts[r * heads + k];
      to[k].cross_entropy += part.cross_entropy;
      for (int i = 0; i < 5; ++i) to[k].top[i] += part.top[i];
    }
  }
}

}  // namespace gorgon
