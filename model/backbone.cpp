#include "model/backbone.h"

#include <utility>

#include "kernels/attention.h"
#include "kernels/convert.h"
#include "kernels/embedding.h"
#include "kernels/error.h"
#include "kernels/fp8_linear.h"
#include "kernels/gemm.h"
#include "kernels/profile.h"
#include "kernels/rms_norm.h"
#include "kernels/swiglu.h"
#include "kernels/transfer.h"
#include "kernels/workspace.h"

namespace gorgon {

namespace {

// Host integers as an op on the stream's device reads them: borrowed on the CPU, copied elsewhere.
ConstView integers(std::span<const int32_t> values, const char* name, Workspace& workspace,
                   const Stream& stream) {
  const Shape shape = {static_cast<int64_t>(values.size())};
  if (stream.device() == Device{}) {
    return BasicView<const std::byte>{reinterpret_cast<const std::byte*>(values.data()), DType::i32, shape,
                                      Device{}, 0};
  }
  const View on_device = workspace.take(name, DType::i32, shape);
  upload(values.data(), on_device, stream);
  return on_device;
}

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

}  // namespace

Backbone::Backbone(const ModelWeights& weights, DType compute) : weights_(weights), compute_(compute) {
  const ModelConfig& c = weights.config;
  require(compute == DType::f32 || compute == DType::bf16, "Backbone", "compute type");
  rotary_ = rotary_table(c.head_dim, c.rope_theta, c.rope_factors, c.max_position_embeddings,
                         weights.final_norm.device());
}

void Backbone::embed(std::span<const int32_t> tokens, View x, const Stream& stream) const {
  Workspace workspace(stream);
  embed_ids(integers(tokens, "tokens", workspace, stream), x, stream);
}

void Backbone::embed_ids(ConstView ids, View x, const Stream& stream) const {
  const ProfileScope scope(stream, "backbone: embedding");
  embedding(ids, weights_.token_embedding, x, stream);
  if (compute_ == DType::f32 || !is_block_quantised(weights_.token_embedding.type)) return;
  Workspace workspace(stream);  // a table that was converted when it was loaded gives rounded rows
  const View rounded = workspace.take("rounded embeddings", compute_, x.shape);
  convert(x, rounded, stream);
  convert(rounded, x, stream);
}

void Backbone::layer(int64_t l, View x, const BackboneContext& context, const Stream& stream) const {
  check(context, x.rows());
  Workspace workspace(stream);
  stream.stop_point();
  attend(l, x, context, integers(context.positions, "positions", workspace, stream), stream);
  feed_forward(l, x, stream);
}

void Backbone::attend(int64_t l, View x, const BackboneContext& context, ConstView positions,
                      const Stream& stream) const {
  const ModelConfig& c = config();
  const LayerWeights& w = weights_.layers[static_cast<size_t>(l)];
  const int64_t n = x.rows(), q_width = c.num_attention_heads * c.head_dim;
  const int64_t kv_width = c.num_key_value_heads * c.head_dim;

  Workspace workspace(stream);
  const View normed = workspace.take("normed states", compute_, {n, c.hidden_size});
  const View qkv = workspace.take("queries, keys and values", compute_, {n, q_width + 2 * kv_width});
  norm(x, w.attention_norm, normed, stream);
  const View first = qkv.columns(0, w.query_key_value.rows);
  product("backbone: queries, keys, values", normed, w.query_key_value, first, Write::overwrite, stream);
  if (!w.value.empty()) {
    const View rest = qkv.columns(q_width + kv_width, q_width + 2 * kv_width);
    product("backbone: queries, keys, values", normed, w.value, rest, Write::overwrite, stream);
  }
  {
    const ProfileScope scope(stream, "backbone: rotary embedding");
    rotary_embedding(qkv.columns(0, q_width + kv_width), c.head_dim, positions, rotary_, stream);
  }
  const View keys = qkv.columns(q_width, q_width + kv_width);
  const View values = qkv.columns(q_width + kv_width, q_width + 2 * kv_width);

  std::vector<AttentionSequence> sequences;
  for (int64_t s = 0; s < context.sequences(); ++s) {
    const auto i = static_cast<size_t>(s);
    const int64_t begin = context.offsets[i], end = context.offsets[i + 1];
    AttentionSequence sequence{begin, end - begin, keys.rows(begin, end), values.rows(begin, end), {}};
    if (!context.caches.empty()) {
      KvCache& cache = *context.caches[i];
      const int64_t past = cache.length(), all = past + end - begin;
      copy_rows(sequence.keys, cache.keys(l, all).rows(past, all), stream);
      copy_rows(sequence.values, cache.values(l, all).rows(past, all), stream);
      sequence.keys = cache.keys(l, all);
      sequence.values = cache.values(l, all);
    }
    if (!context.trees.empty()) sequence.tree = context.trees[i];
    sequences.push_back(sequence);
  }
  const View mixed = workspace.take("mixed values", compute_, {n, q_width});
  const AttentionShape shape{c.num_attention_heads, c.num_key_value_heads, c.head_dim,
                             c.sliding_window.value_or(0)};
  {
    const ProfileScope scope(stream, "backbone: attention");
    attention(qkv.columns(0, q_width), sequences, shape, mixed, stream);
  }
  product("backbone: attention output", mixed, w.attention_output, x, Write::accumulate, stream);
}

void Backbone::feed_forward(int64_t l, View x, const Stream& stream) const {
  const ModelConfig& c = config();
  const LayerWeights& w = weights_.layers[static_cast<size_t>(l)];
  const int64_t n = x.rows();
  Workspace workspace(stream);
  const View normed = workspace.take("normed states", compute_, {n, c.hidden_size});
  const View gate_up = workspace.take("gate and up", compute_, {n, 2 * c.intermediate_size});
  const View gated = workspace.take("gated values", compute_, {n, c.intermediate_size});
  norm(x, w.feed_forward_norm, normed, stream);
  product("backbone: gate and up", normed, w.gate_up, gate_up, Write::overwrite, stream);
  {
    const ProfileScope scope(stream, "backbone: SwiGLU");
    swiglu(gate_up, gated, stream);
  }
  product("backbone: down", gated, w.down, x, Write::accumulate, stream);
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

void Backbone::forward(std::span<const int32_t> tokens, const BackboneContext& context, View states,
                       const Stream& stream) const {
  const auto n = static_cast<int64_t>(tokens.size());
  check(context, n);
  Workspace workspace(stream);
  const View x = workspace.take("residual stream", DType::f32, {n, config().hidden_size});
  const ConstView positions = integers(context.positions, "positions", workspace, stream);
  const ConstView ids = integers(tokens, "tokens", workspace, stream);
  const auto all_layers = [&] {
    embed_ids(ids, x, stream);
    for (int64_t l = 0; l < config().num_hidden_layers; ++l) {
      stream.stop_point();
      attend(l, x, context, positions, stream);
      feed_forward(l, x, stream);
    }
    final_norm(x, states, stream);
  };
  if (context.repeated == nullptr || !context.caches.empty() || !context.trees.empty()) return all_layers();
  std::vector<int64_t> key = {n, key_of(x.data), key_of(states.data), states.stride()};
  key.insert(key.end(), context.offsets.begin(), context.offsets.end());
  context.repeated->run(std::move(key), all_layers, stream);
}

int64_t Backbone::workspace_bytes(const ModelConfig& c, DType compute, DType stored, int64_t n,
                                  DeviceKind device) {
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  const int64_t hidden = c.hidden_size, wide = 2 * c.intermediate_size;
  const auto bytes = [&](int64_t elements) { return Arena::padded(bytes_of(compute, elements)); };
  int64_t attention = bytes(n * hidden) + bytes(n * (q + 2 * kv)) + bytes(n * q);
  int64_t feed_forward = bytes(n * hidden) + bytes(n * wide) + bytes(n * c.intermediate_size);
  if (stored == DType::e4m3) {
    const auto product = [&](int64_t columns, int64_t outputs, DType y) {
      return fp8_workspace_bytes(n, columns, outputs, y);
    };
    attention += std::max(product(hidden, q + 2 * kv, compute), product(q, hidden, DType::f32));
    feed_forward +=
        std::max(product(hidden, wide, compute), product(c.intermediate_size, hidden, DType::f32));
  } else if (stored != compute) {
    const auto part = [&](int64_t rows, int64_t columns) {
      return bytes(std::min(rows, dequantised_rows(device)) * columns);
    };
    attention += std::max(part(q + 2 * kv, hidden), part(hidden, q));
    feed_forward += std::max(part(wide, hidden), part(hidden, c.intermediate_size));
  }
  const int64_t integers = device == DeviceKind::cuda ? 2 * Arena::padded(bytes_of(DType::i32, n)) : 0;
  return Arena::padded(bytes_of(DType::f32, n * hidden)) + integers + std::max(attention, feed_forward);
}

Tensor Backbone::forward(std::span<const int32_t> tokens, const BackboneContext& context,
                         const Stream& stream) const {
  Tensor states(compute_, {static_cast<int64_t>(tokens.size()), config().hidden_size}, stream.device());
  forward(tokens, context, states.view(), stream);
  return states;
}

}  // namespace gorgon
