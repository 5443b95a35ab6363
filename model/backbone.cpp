#include "model/backbone.h"

#include "kernels/attention.h"
#include "kernels/embedding.h"
#include "kernels/error.h"
#include "kernels/gemm.h"
#include "kernels/profile.h"
#include "kernels/rms_norm.h"
#include "kernels/swiglu.h"

namespace gorgon {

namespace {

// Host integers as an op on `device` reads them: borrowed on the CPU, copied elsewhere.
class DeviceIntegers {
 public:
  DeviceIntegers(std::span<const int32_t> values, Device device) {
    const Shape shape = {static_cast<int64_t>(values.size())};
    view_ = BasicView<const std::byte>{reinterpret_cast<const std::byte*>(values.data()), DType::i32, shape,
                                       Device{}, 0};
    if (device == Device{}) return;
    copy_ = Tensor(DType::i32, shape, device);
    copy_bytes(device, copy_.data(), Device{}, values.data(), copy_.bytes());
    view_ = copy_.view();
  }
  ConstView view() const { return view_; }

 private:
  Tensor copy_;
  ConstView view_;
};

void check(const BackboneContext& context, int64_t tokens) {
  const auto sequences = static_cast<size_t>(std::max<int64_t>(0, context.sequences()));
  require(static_cast<int64_t>(context.positions.size()) == tokens, "Backbone", "number of positions");
  require(!context.offsets.empty() && context.offsets.front() == 0 && context.offsets.back() == tokens,
          "Backbone", "offsets");
  require(context.caches.empty() || context.caches.size() == sequences, "Backbone", "number of caches");
  require(context.trees.empty() || context.trees.size() == sequences, "Backbone", "number of trees");
}

void product(const char* part, ConstView x, const WeightMatrix& weight, View y, Write write,
             const Stream& stream) {
  const ProfileScope scope(stream, part);
  linear(x, weight, y, write, stream);
}

void copy_rows(ConstView from, View to) {
  const int64_t bytes = bytes_of(from.type, from.columns());
  for (int64_t i = 0; i < from.rows(); ++i) {
    copy_bytes(to.device, to.rows(i, i + 1).data, from.device, from.rows(i, i + 1).data, bytes);
  }
}

}  // namespace

Backbone::Backbone(const ModelWeights& weights, DType compute) : weights_(weights), compute_(compute) {
  const ModelConfig& c = weights.config;
  require(compute == DType::f32 || compute == DType::bf16, "Backbone", "compute type");
  rotary_ = rotary_table(c.head_dim, c.rope_theta, c.rope_factors, c.max_position_embeddings,
                         weights.final_norm.device());
}

void Backbone::embed(std::span<const int32_t> tokens, View x, const Stream& stream) const {
  const ProfileScope scope(stream, "backbone: embedding");
  embedding(DeviceIntegers(tokens, stream.device()).view(), weights_.token_embedding, x, stream);
}

void Backbone::layer(int64_t l, View x, const BackboneContext& context, const Stream& stream) const {
  check(context, x.rows());
  stream.stop_point();
  attend(l, x, context, stream);
  feed_forward(l, x, stream);
}

void Backbone::attend(int64_t l, View x, const BackboneContext& context, const Stream& stream) const {
  const ModelConfig& c = config();
  const LayerWeights& w = weights_.layers[static_cast<size_t>(l)];
  const int64_t n = x.rows(), q_width = c.num_attention_heads * c.head_dim;
  const int64_t kv_width = c.num_key_value_heads * c.head_dim;

  Tensor normed(compute_, {n, c.hidden_size}, x.device), qkv(compute_, {n, q_width + 2 * kv_width}, x.device);
  norm(x, w.attention_norm, normed.view(), stream);
  product("backbone: queries, keys, values", normed.view(), w.query_key_value, qkv.view(), Write::overwrite,
          stream);
  {
    const ProfileScope scope(stream, "backbone: rotary embedding");
    rotary_embedding(qkv.view().columns(0, q_width + kv_width), c.head_dim,
                     DeviceIntegers(context.positions, stream.device()).view(), rotary_, stream);
  }
  const View keys = qkv.view().columns(q_width, q_width + kv_width);
  const View values = qkv.view().columns(q_width + kv_width, q_width + 2 * kv_width);

  std::vector<AttentionSequence> sequences;
  for (int64_t s = 0; s < context.sequences(); ++s) {
    const auto i = static_cast<size_t>(s);
    const int64_t begin = context.offsets[i], end = context.offsets[i + 1];
    AttentionSequence sequence{begin, end - begin, keys.rows(begin, end), values.rows(begin, end), {}};
    if (!context.caches.empty()) {
      KvCache& cache = *context.caches[i];
      const int64_t past = cache.length(), all = past + end - begin;
      copy_rows(sequence.keys, cache.keys(l, all).rows(past, all));
      copy_rows(sequence.values, cache.values(l, all).rows(past, all));
      sequence.keys = cache.keys(l, all);
      sequence.values = cache.values(l, all);
    }
    if (!context.trees.empty()) sequence.tree = context.trees[i];
    sequences.push_back(sequence);
  }
  Tensor mixed(compute_, {n, q_width}, x.device);
  const AttentionShape shape{c.num_attention_heads, c.num_key_value_heads, c.head_dim,
                             c.sliding_window.value_or(0)};
  {
    const ProfileScope scope(stream, "backbone: attention");
    attention(qkv.view().columns(0, q_width), sequences, shape, mixed.view(), stream);
  }
  product("backbone: attention output", mixed.view(), w.attention_output, x, Write::accumulate, stream);
}

void Backbone::feed_forward(int64_t l, View x, const Stream& stream) const {
  const ModelConfig& c = config();
  const LayerWeights& w = weights_.layers[static_cast<size_t>(l)];
  const int64_t n = x.rows();
  Tensor normed(compute_, {n, c.hidden_size}, x.device);
  Tensor gate_up(compute_, {n, 2 * c.intermediate_size}, x.device);
  Tensor gated(compute_, {n, c.intermediate_size}, x.device);
  norm(x, w.feed_forward_norm, normed.view(), stream);
  product("backbone: gate and up", normed.view(), w.gate_up, gate_up.view(), Write::overwrite, stream);
  {
    const ProfileScope scope(stream, "backbone: SwiGLU");
    swiglu(gate_up.view(), gated.view(), stream);
  }
  product("backbone: down", gated.view(), w.down, x, Write::accumulate, stream);
}

void Backbone::norm(ConstView x, const Tensor& weight, View y, const Stream& stream) const {
  const ProfileScope scope(stream, "backbone: RMSNorm");
  rms_norm(x, weight.view(), config().rms_norm_eps, y, stream);
}

void Backbone::final_norm(ConstView x, View states, const Stream& stream) const {
  norm(x, weights_.final_norm, states, stream);
}

void Backbone::logits(ConstView states, View out, const Stream& stream) const {
  product("backbone: lm_head", states, weights_.lm_head, out, Write::overwrite, stream);
}

Tensor Backbone::forward(std::span<const int32_t> tokens, const BackboneContext& context,
                         const Stream& stream) const {
  const auto n = static_cast<int64_t>(tokens.size());
  Tensor x(DType::f32, {n, config().hidden_size}, stream.device());
  embed(tokens, x.view(), stream);
  for (int64_t l = 0; l < config().num_hidden_layers; ++l) layer(l, x.view(), context, stream);
  Tensor states(compute_, {n, config().hidden_size}, stream.device());
  final_norm(x.view(), states.view(), stream);
  return states;
}

}  // namespace gorgon
