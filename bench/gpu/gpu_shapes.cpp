#include <algorithm>
#include <chrono>
#include <random>
#include <sstream>

#include "bench/gpu/gpu_bench.h"
#include "kernels/fp8_linear.h"
#include "model/state_rows.h"

namespace gorgon::bench {

void Line::key(const std::string& key) {
  text_ += (text_.empty() ? "\"" : ", \"") + key + "\": ";
}
Line& Line::add(const std::string& name, const std::string& value) {
  key(name);
  text_ += "\"" + value + "\"";
  return *this;
}
Line& Line::add(const std::string& name, double value) {
  key(name);
  std::ostringstream text;
  text.precision(6);
  text << value;
  text_ += text.str();
  return *this;
}
Line& Line::add(const std::string& name, int64_t value) {
  key(name);
  text_ += std::to_string(value);
  return *this;
}

double seconds_of(const Stream& stream, int rounds, const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  call();
  stream.synchronize();
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = Clock::now();
    call();
    stream.synchronize();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

// A million numbers from the host, over and over: the values matter to the chip's clock, not to the result.
Tensor random_tensor(DType type, Shape shape, float scale, unsigned seed, const Stream& stream) {
  constexpr int64_t kPattern = (1 << 20) - 3;
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  Tensor result(type, shape, stream.device());
  Tensor pattern(type, {std::min(kPattern, result.elements())});
  for (int64_t i = 0; i < pattern.elements(); ++i) {
    if (type == DType::f32) {
      pattern.as<float>()[i] = normal(random);
    } else if (type == DType::e4m3) {
      pattern.data()[i] = std::byte{to_e4m3(normal(random))};
    } else {
      pattern.as<bf16>()[i] = bf16(normal(random));
    }
  }
  for (int64_t at = 0; at < result.elements(); at += pattern.elements()) {
    const int64_t count = std::min(pattern.elements(), result.elements() - at);
    copy_bytes(stream.device(), result.data() + bytes_of(type, at), {}, pattern.data(),
               bytes_of(type, count));
  }
  return result;
}

const std::vector<Sizes>& all_sizes() {
  static const std::vector<Sizes> sizes = {{"zephyr-7b", 4096, 32, 14336, 32, 8, 128, 32000},
                                           {"llama-3-8b", 4096, 32, 14336, 32, 8, 128, 128256},
                                           {"smollm2-135m", 576, 30, 1536, 9, 3, 64, 49152},
                                           {"tiny", 64, 2, 96, 4, 2, 16, 512}};
  return sizes;
}

ModelWeights random_model(const Sizes& s, const Stream& stream) {
  const auto matrix = [&](int64_t rows, int64_t columns, unsigned seed) {
    return WeightMatrix{
        DType::bf16, rows, columns,
        std::make_shared<const Tensor>(random_tensor(DType::bf16, {rows, columns}, 0.02f, seed, stream))};
  };
  const auto ones = [&](int64_t n) {
    return Tensor::of(std::vector<float>(static_cast<size_t>(n), 1.0f), {n}, stream.device());
  };
  ModelWeights model;
  ModelConfig& c = model.config;
  c.architecture = "llama";
  c.hidden_size = s.hidden;
  c.num_hidden_layers = s.layers;
  c.intermediate_size = s.intermediate;
  c.num_attention_heads = s.heads;
  c.num_key_value_heads = s.kv_heads;
  c.head_dim = s.head_dim;
  c.vocab_size = s.vocabulary;
  c.max_position_embeddings = 4096;
  model.token_embedding = matrix(s.vocabulary, s.hidden, 1);
  model.lm_head = matrix(s.vocabulary, s.hidden, 2);
  model.final_norm = ones(s.hidden);
  for (int64_t l = 0; l < s.layers; ++l) {
    const auto seed = static_cast<unsigned>(10 + 4 * l);
    LayerWeights layer;
    layer.attention_norm = ones(s.hidden);
    layer.feed_forward_norm = ones(s.hidden);
    layer.query_key_value = matrix((s.heads + 2 * s.kv_heads) * s.head_dim, s.hidden, seed);
    layer.attention_output = matrix(s.hidden, s.heads * s.head_dim, seed + 1);
    layer.gate_up = matrix(2 * s.intermediate, s.hidden, seed + 2);
    layer.down = matrix(s.hidden, s.intermediate, seed + 3);
    model.layers.push_back(std::move(layer));
  }
  return model;
}

ModelWeights in_fp8(const ModelWeights& model, const Stream& stream) {
  ModelWeights fp8;
  fp8.config = model.config;
  fp8.token_embedding = model.token_embedding;
  fp8.lm_head = model.lm_head;
  const auto copy = [&](const Tensor& t) { return t.to(stream.device()); };
  fp8.final_norm = copy(model.final_norm);
  unsigned seed = 1;
  const auto matrix = [&](const WeightMatrix& like) {
    constexpr float kCodes = 100.0f;  // deviation of codes, that of the weights being 0.02
    const std::vector<float> scales(static_cast<size_t>(like.rows), 0.02f / kCodes);
    return WeightMatrix{DType::e4m3, like.rows, like.columns,
                        std::make_shared<const Tensor>(
                            random_tensor(DType::e4m3, {like.rows, like.columns}, kCodes, seed++, stream)),
                        std::make_shared<const Tensor>(Tensor::of(scales, {like.rows}, stream.device()))};
  };
  for (const LayerWeights& l : model.layers) {
    LayerWeights layer;
    layer.attention_norm = copy(l.attention_norm);
    layer.query_key_value = matrix(l.query_key_value);
    layer.attention_output = matrix(l.attention_output);
    layer.feed_forward_norm = copy(l.feed_forward_norm);
    layer.gate_up = matrix(l.gate_up);
    layer.down = matrix(l.down);
    fp8.layers.push_back(std::move(layer));
  }
  return fp8;
}

Sequences random_sequences(const Sizes& sizes, int64_t tokens, int64_t length, double supervised_share) {
  std::mt19937 random(7);
  const auto silent = static_cast<int64_t>((1.0 - supervised_share) * static_cast<double>(length));
  Sequences s;
  s.offsets.push_back(0);
  for (int64_t begin = 0; begin < tokens; begin += length) {
    const int64_t end = std::min(begin + length, tokens);
    s.first_id.push_back(begin);
    for (int64_t t = begin; t < end; ++t) {
      s.tokens.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(sizes.vocabulary)));
      s.labels.push_back(t - begin < silent ? kIgnoreIndex : s.tokens.back());
      s.segments.push_back(0);
    }
    s.offsets.push_back(end);
  }
  return s;
}

}  // namespace gorgon::bench
