// The CPU backends in plain loops and doubles, for a program that needs no library: what the GPU is compared
// with, and what runs in its place where there is none. Slow.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/attention.h"
#include "kernels/block_linear.h"
#include "kernels/code_map.h"
#include "kernels/convert.h"
#include "kernels/dequantise.h"
#include "kernels/error.h"
#include "kernels/gemm.h"
#include "kernels/resblock.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary_embedding.h"
#include "kernels/swiglu.h"
#include "kernels/vocabulary_cross_entropy.h"
#include "optim/adamw.h"
#include "optim/gradient_clipping.h"
#include "optim/stochastic_rounding.h"

namespace gorgon::cpu {

namespace {

double get(ConstView m, int64_t i, int64_t j) {
  const int64_t at = i * m.stride() + j;
  return m.type == DType::f32 ? static_cast<double>(m.as<float>()[at])
                              : static_cast<double>(static_cast<float>(m.as<bf16>()[at]));
}
void put(View m, int64_t i, int64_t j, double value) {
  const int64_t at = i * m.stride() + j;
  if (m.type == DType::f32) {
    m.as<float>()[at] = static_cast<float>(value);
  } else {
    m.as<bf16>()[at] = bf16(static_cast<float>(value));
  }
}
template <typename Value>
void for_each(View m, Value&& value) {
  for (int64_t i = 0; i < m.rows(); ++i) {
    for (int64_t j = 0; j < m.columns(); ++j) put(m, i, j, value(i, j));
  }
}
double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

}  // namespace

void gemm(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream&) {
  const int64_t depth = options.transpose_a ? a.shape[0] : a.shape[1];
  for_each(c, [&](int64_t i, int64_t j) {
    double sum = options.write == Write::accumulate ? get(c, i, j) : 0.0;
    for (int64_t l = 0; l < depth; ++l) {
      sum += (options.transpose_a ? get(a, l, i) : get(a, i, l)) *
             (options.transpose_b ? get(b, j, l) : get(b, l, j));
    }
    return sum;
  });
}

void block_linear(ConstView x, const WeightMatrix& weight, View y, Write write, const Stream& stream) {
  Tensor values(DType::f32, {weight.rows, weight.columns});
  gorgon::dequantise(weight, 0, values.view(), stream);
  Tensor wide(DType::f32, x.shape);
  for_each(wide.view(), [&](int64_t i, int64_t j) { return get(x, i, j); });
  cpu::gemm(wide.view(), values.view(), y, {false, true, write}, stream);
}

void convert(ConstView from, View to, const Stream&) {
  for_each(to, [&](int64_t i, int64_t j) { return get(from, i, j); });
}

void gather_rows(ConstView from, ConstView index, View to, const Stream&) {
  for (int64_t i = 0; i < index.elements(); ++i) {
    const int64_t row = index.as<int32_t>()[i];
    require(row >= 0 && row < from.rows(), "gather_rows", "a row that is not there");
  }
  for_each(to, [&](int64_t i, int64_t j) { return get(from, index.as<int32_t>()[i], j); });
}

void rms_norm(ConstView x, ConstView weight, float epsilon, View y, const Stream&) {
  for (int64_t i = 0; i < x.rows(); ++i) {
    double squares = 0;
    for (int64_t j = 0; j < x.columns(); ++j) squares += get(x, i, j) * get(x, i, j);
    const double scale =
        1.0 / std::sqrt(squares / static_cast<double>(x.columns()) + static_cast<double>(epsilon));
    for (int64_t j = 0; j < x.columns(); ++j) {
      put(y, i, j, get(x, i, j) * scale * static_cast<double>(weight.as<float>()[j]));
    }
  }
}

void rotary_embedding(View x, int64_t head_dim, ConstView positions, const RotaryTable& table,
                      const Stream&) {
  const int64_t half = head_dim / 2;
  for (int64_t i = 0; i < x.rows(); ++i) {
    const int64_t position = positions.as<int32_t>()[i];
    require(position >= 0 && position < table.cos.shape()[0], "rotary_embedding",
            "a position outside the table");
    for (int64_t first = 0; first < x.columns(); first += head_dim) {
      for (int64_t j = 0; j < half; ++j) {
        const double c = get(table.cos.view(), position, j), s = get(table.sin.view(), position, j);
        const double u = get(x, i, first + j), v = get(x, i, first + j + half);
        put(x, i, first + j, u * c - v * s);
        put(x, i, first + j + half, v * c + u * s);
      }
    }
  }
}

void swiglu(ConstView gate_up, View y, const Stream&) {
  for_each(y, [&](int64_t i, int64_t j) {
    const double gate = get(gate_up, i, j);
    return gate * sigmoid(gate) * get(gate_up, i, j + y.columns());
  });
}

namespace {

// Keys that new token i of a sequence sees, in order. In a tree the window counts along the path.
std::vector<int64_t> visible_keys(const AttentionSequence& s, int64_t i, int64_t window) {
  const int64_t past = s.keys.rows() - s.tokens, words = (s.tokens + 63) / 64;
  std::vector<int64_t> keys;
  for (int64_t j = 0; j < past; ++j) keys.push_back(j);
  for (int64_t j = 0; j < s.tokens; ++j) {
    const bool seen = s.tree.empty() ? j <= i : s.tree[static_cast<size_t>(i * words + j / 64)] >> j % 64 & 1;
    if (seen) keys.push_back(past + j);
  }
  const auto hidden = window == 0 ? int64_t{0} : std::max<int64_t>(0, std::ssize(keys) - window);
  keys.erase(keys.begin(), keys.begin() + hidden);
  return keys;
}

void attend(ConstView q, const AttentionSequence& s, const AttentionShape& shape, int64_t i, int64_t head,
            View out) {
  const int64_t dim = shape.head_dim, at = head * dim, key_at = head / (shape.heads / shape.kv_heads) * dim;
  const std::vector<int64_t> keys = visible_keys(s, i, shape.window);
  std::vector<double> scores, mixed(static_cast<size_t>(dim), 0.0);
  for (const int64_t key : keys) {
    double score = 0;
    for (int64_t d = 0; d < dim; ++d) score += get(q, s.begin + i, at + d) * get(s.keys, key, key_at + d);
    scores.push_back(score / std::sqrt(static_cast<double>(dim)));
  }
  const double top = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (size_t k = 0; k < keys.size(); ++k) {
    const double weight = std::exp(scores[k] - top);
    total += weight;
    for (int64_t d = 0; d < dim; ++d)
      mixed[static_cast<size_t>(d)] += weight * get(s.values, keys[k], key_at + d);
  }
  for (int64_t d = 0; d < dim; ++d) put(out, s.begin + i, at + d, mixed[static_cast<size_t>(d)] / total);
}

}  // namespace

void attention(ConstView q, std::span<const AttentionSequence> sequences, const AttentionShape& shape,
               View out, const Stream&) {
  for (const AttentionSequence& s : sequences) {
    for (int64_t i = 0; i < s.tokens; ++i) {
      for (int64_t head = 0; head < shape.heads; ++head) attend(q, s, shape, i, head, out);
    }
  }
}

void resblock_forward(View u, ConstView bias, ConstView x, View y, const Stream&) {
  const auto* terms = bias.data;
  const ConstView row = BasicView<const std::byte>{terms, bias.type, {1, bias.elements()}, bias.device, 0};
  for (int64_t i = 0; i < u.rows(); ++i) {
    for (int64_t j = 0; j < u.columns(); ++j) {
      put(u, i, j, get(u, i, j) + get(row, 0, j));
      put(y, i, j, get(x, i, j) + get(u, i, j) * sigmoid(get(u, i, j)));
    }
  }
}

void resblock_backward(ConstView dy, ConstView u, View du, View dbias, Write write, const Stream&) {
  for (int64_t j = 0; j < u.columns(); ++j) {
    double sum = write == Write::accumulate ? static_cast<double>(dbias.as<float>()[j]) : 0.0;
    for (int64_t i = 0; i < u.rows(); ++i) {
      const double z = get(u, i, j), s = sigmoid(z);
      const double slope = get(dy, i, j) * s * (1.0 + z * (1.0 - s));
      sum += slope;
      put(du, i, j, slope);
    }
    dbias.as<float>()[j] = static_cast<float>(sum);
  }
}

void merge_statistics(ConstView logits, bool first, const CrossEntropyStatistics& statistics, const Stream&) {
  for (int64_t i = 0; i < logits.rows(); ++i) {
    float &max = statistics.max.as<float>()[i], &sum = statistics.sum.as<float>()[i];
    double top = first ? -INFINITY : static_cast<double>(max);
    const double before = first ? 0.0 : static_cast<double>(sum), old = top;
    for (int64_t j = 0; j < logits.columns(); ++j) top = std::max(top, get(logits, i, j));
    double total = before == 0.0 ? 0.0 : before * std::exp(old - top);
    for (int64_t j = 0; j < logits.columns(); ++j) total += std::exp(get(logits, i, j) - top);
    max = static_cast<float>(top);
    sum = static_cast<float>(total);
  }
}

void label_logits(ConstView logits, ConstView labels, int64_t begin, View out, const Stream&) {
  for (int64_t i = 0; i < logits.rows(); ++i) {
    const int64_t label = labels.as<int32_t>()[i], j = label - begin;
    const bool here = label >= 0 && j >= 0 && j < logits.columns();
    out.as<float>()[i] = here ? static_cast<float>(get(logits, i, j)) : -INFINITY;
  }
}

void cross_entropy_hits(ConstView logits, ConstView labels, int64_t begin,
                        const CrossEntropyStatistics& whole, View hits, const Stream&) {
  for (int64_t i = 0; i < logits.rows(); ++i) {
    const auto wanted = static_cast<double>(whole.label_logit.as<float>()[i]);
    int32_t ahead = 0;
    for (int64_t j = 0; j < logits.columns(); ++j) {
      const double z = get(logits, i, j);
      ahead += z > wanted || (z == wanted && j < labels.as<int32_t>()[i] - begin) ? 1 : 0;
    }
    hits.as<int32_t>()[i] = ahead;
  }
}

void cross_entropy_gradient(View logits, ConstView labels, int64_t begin, const CrossEntropyStatistics& whole,
                            ConstView row_scale, View hits, const Stream& stream) {
  cpu::cross_entropy_hits(logits, labels, begin, whole, hits, stream);
  for_each(logits, [&](int64_t i, int64_t j) {
    const auto scale = static_cast<double>(row_scale.as<float>()[i]);
    if (scale == 0.0) return 0.0;
    const double p = std::exp(get(logits, i, j) - static_cast<double>(whole.max.as<float>()[i])) /
                     static_cast<double>(whole.sum.as<float>()[i]);
    return scale * (p - (j == labels.as<int32_t>()[i] - begin ? 1.0 : 0.0));
  });
}

namespace {

void update(const AdamWOptions& o, const ParamGroup& group, const StepScalars& s, float grad, float& p,
            float& m, float& v) {
  const float lr = s.lr * group.lr_multiplier, decay = 1.0f - lr * group.weight_decay,
              g = grad * s.grad_scale;
  const double c1 = 1.0 - std::pow(static_cast<double>(o.beta1), s.step);
  const double c2 = std::sqrt(1.0 - std::pow(static_cast<double>(o.beta2), s.step));
  v = o.beta2 * v + (1.0f - o.beta2) * (g * g);
  if (o.form == AdamWForm::pytorch) {
    m = m + (1.0f - o.beta1) * (g - m);
    const auto size = static_cast<float>(static_cast<double>(lr) / c1);
    p = p * decay - size * (m / (std::sqrt(v) / static_cast<float>(c2) + o.epsilon));
  } else {
    m = o.beta1 * m + (1.0f - o.beta1) * g;
    const auto size = static_cast<float>(static_cast<double>(lr) * c2 / c1);
    const auto epsilon = static_cast<float>(static_cast<double>(o.epsilon) * c2);
    p = (p - size * (m / (std::sqrt(v) + epsilon))) * decay;
  }
}

// Codes and absmax of one block of a state.
void requantise(const std::vector<float>& values, uint8_t* codes, float& absmax, uint8_t zero,
                uint8_t (*code)(float, float)) {
  absmax = 0.0f;
  for (const float x : values) absmax = std::max(absmax, std::abs(x));
  for (size_t i = 0; i < values.size(); ++i) codes[i] = absmax == 0.0f ? zero : code(values[i], absmax);
}

void step_block(const ParamGroup& group, const AdamWState& state, const AdamWOptions& options,
                const StepScalars& scalars, int64_t block) {
  const int64_t begin = block * kStateBlock, end = std::min(begin + kStateBlock, group.param.elements());
  const bool eight_bit = state.momentum.type == DType::u8, master = state.master.data != nullptr;
  std::vector<float> ms, vs;
  for (int64_t i = begin; i < end; ++i) {
    const auto one = [i](auto view) {
      return static_cast<float>(view.type == DType::f32 ? view.template as<float>()[i]
                                                        : static_cast<float>(view.template as<bf16>()[i]));
    };
    float m, v;
    if (eight_bit) {
      m = signed_code_map().values[state.momentum.as<uint8_t>()[i]] *
          state.momentum_absmax.as<float>()[block];
      v = unsigned_code_map().values[state.variance.as<uint8_t>()[i]] *
          state.variance_absmax.as<float>()[block];
    } else {
      m = state.momentum.as<float>()[i];
      v = state.variance.as<float>()[i];
    }
    float p = master ? state.master.as<float>()[i] : one(group.param);
    update(options, group, scalars, one(group.grad), p, m, v);
    ms.push_back(m);
    vs.push_back(v);
    if (master) state.master.as<float>()[i] = p;
    if (group.param.type == DType::f32) {
      group.param.as<float>()[i] = p;
    } else if (master) {
      group.param.as<bf16>()[i] = bf16(p);
    } else {
      const auto offset = static_cast<uint64_t>(group.global_offset + i);
      const auto step = static_cast<uint32_t>(scalars.step);
      group.param.as<bf16>()[i] =
          round_stochastically(p, rounding_bits(options.seed, group.id, step, offset));
    }
  }
  if (eight_bit) {
    requantise(ms, state.momentum.as<uint8_t>() + begin, state.momentum_absmax.as<float>()[block], 127,
               momentum_code);
    requantise(vs, state.variance.as<uint8_t>() + begin, state.variance_absmax.as<float>()[block], 0,
               variance_code);
  } else {
    std::copy(ms.begin(), ms.end(), state.momentum.as<float>() + begin);
    std::copy(vs.begin(), vs.end(), state.variance.as<float>() + begin);
  }
}

}  // namespace

void adamw_step(const ParamGroup& group, const AdamWState& state, const AdamWOptions& options,
                const StepScalars* scalars, const Stream&) {
  if (scalars->skip != 0) return;
  const int64_t blocks = (group.param.elements() + kStateBlock - 1) / kStateBlock;
  for (int64_t block = 0; block < blocks; ++block) step_block(group, state, options, *scalars, block);
}

void square_sum(ConstView values, View sum, const Stream&) {
  double total = 0;
  const ConstView row =
      BasicView<const std::byte>{values.data, values.type, {1, values.elements()}, values.device, 0};
  for (int64_t j = 0; j < row.columns(); ++j) total += get(row, 0, j) * get(row, 0, j);
  sum.as<float>()[0] = static_cast<float>(total);
}

}  // namespace gorgon::cpu
