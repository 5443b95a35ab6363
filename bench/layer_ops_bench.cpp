#include <numeric>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/machine_peak.h"
#include "bench/numbers.h"
#include "kernels/attention.h"
#include "kernels/convert.h"
#include "kernels/dequantise.h"
#include "kernels/embedding.h"
#include "kernels/resblock.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary_embedding.h"
#include "kernels/swiglu.h"

namespace gorgon::bench {
namespace {

// 1,024 tokens through a layer of SmolLM2.
constexpr int64_t kTokens = 1024, kHidden = 576, kIntermediate = 1536, kVocabulary = 49152;
constexpr int64_t kHeads = 9, kKvHeads = 3, kHeadDim = 64;

double bytes(DType type, int64_t elements) {
  return static_cast<double>(bytes_of(type, elements));
}

void rms_norm_rate(benchmark::State& state, DType type) {
  const Stream stream;
  const Tensor x = numbers(DType::f32, {kTokens, kHidden}, 1.0f);
  const Tensor weight = numbers(DType::f32, {kHidden}, 1.0f);
  Tensor y(type, {kTokens, kHidden});
  for (auto _ : state) rms_norm(x.view(), weight.view(), 1e-5f, y.view(), stream);
  report_bytes(state, stream, bytes(DType::f32, x.elements()) + bytes(type, y.elements()));
}

void rotary_rate(benchmark::State& state, DType type) {
  const Stream stream;
  const int64_t width = (kHeads + kKvHeads) * kHeadDim;
  Tensor x = numbers(type, {kTokens, width}, 1.0f);
  const Tensor positions = integers(kTokens, 1024);
  const RotaryTable table = rotary_table(kHeadDim, 1e5f, {}, 1024, {});
  for (auto _ : state) rotary_embedding(x.view(), kHeadDim, positions.view(), table, stream);
  report_bytes(state, stream, 2 * bytes(type, x.elements()));
}

void swiglu_rate(benchmark::State& state, DType type) {
  const Stream stream;
  const Tensor gate_up = numbers(type, {kTokens, 2 * kIntermediate}, 3.0f);
  Tensor y(type, {kTokens, kIntermediate});
  for (auto _ : state) swiglu(gate_up.view(), y.view(), stream);
  report_bytes(state, stream, bytes(type, 3 * y.elements()));
}

void embedding_rate(benchmark::State& state, DType type) {
  const Stream stream;
  const auto storage = std::make_shared<const Tensor>(numbers(type, {kVocabulary, kHidden}, 1.0f));
  const WeightMatrix table{type, kVocabulary, kHidden, storage};
  const Tensor tokens = integers(kTokens, kVocabulary);
  Tensor x(DType::f32, {kTokens, kHidden});
  for (auto _ : state) embedding(tokens.view(), table, x.view(), stream);
  report_bytes(state, stream, bytes(type, x.elements()) + bytes(DType::f32, x.elements()));
}

// Causal attention of four sequences of 256 tokens, or one of 1,024.
void attention_rate(benchmark::State& state, DType type) {
  const Stream stream;
  const int64_t length = state.range(0), kv_width = kKvHeads * kHeadDim;
  const Tensor q = numbers(type, {kTokens, kHeads * kHeadDim}, 1.0f, 1);
  const Tensor k = numbers(type, {kTokens, kv_width}, 1.0f, 2),
               v = numbers(type, {kTokens, kv_width}, 1.0f, 3);
  Tensor out(type, {kTokens, kHeads * kHeadDim});
  std::vector<AttentionSequence> sequences;
  for (int64_t begin = 0; begin < kTokens; begin += length) {
    sequences.push_back(
        {begin, length, k.view().rows(begin, begin + length), v.view().rows(begin, begin + length), {}});
  }
  for (auto _ : state) {
    attention(q.view(), sequences, {kHeads, kKvHeads, kHeadDim, 0}, out.view(), stream);
  }
  // Scores and weighted values over half of the square; done in f32 whatever the storage.
  report_flops(state, stream, false,
               4.0 * static_cast<double>(kTokens * kHeads * kHeadDim) * (length + 1) / 2);
}

void resblock_forward_rate(benchmark::State& state, DType type) {
  const Stream stream;
  Tensor u = numbers(DType::f32, {kTokens, kHidden}, 1.0f, 1);
  const Tensor bias = Tensor::zeros(type, {kHidden}), x = numbers(type, {kTokens, kHidden}, 1.0f, 2);
  Tensor y(type, {kTokens, kHidden});
  for (auto _ : state) resblock_forward(u.view(), bias.view(), x.view(), y.view(), stream);
  report_bytes(state, stream, 2 * bytes(DType::f32, u.elements()) + 2 * bytes(type, y.elements()));
}

void resblock_backward_rate(benchmark::State& state, DType type) {
  const Stream stream;
  const Tensor dy = numbers(DType::f32, {kTokens, kHidden}, 1.0f, 1);
  const Tensor u = numbers(DType::f32, {kTokens, kHidden}, 1.0f, 2);
  Tensor du(type, {kTokens, kHidden}), dbias(DType::f32, {kHidden});
  for (auto _ : state) {
    resblock_backward(dy.view(), u.view(), du.view(), dbias.view(), Write::overwrite, stream);
  }
  report_bytes(state, stream, 2 * bytes(DType::f32, u.elements()) + bytes(type, du.elements()));
}

void convert_rate(benchmark::State& state) {
  const Stream stream;
  const Tensor from = numbers(DType::f32, {kVocabulary, kHidden}, 1.0f);
  Tensor to(DType::bf16, {kVocabulary, kHidden});
  for (auto _ : state) convert(from.view(), to.view(), stream);
  report_bytes(state, stream, bytes(DType::f32, to.elements()) + bytes(DType::bf16, to.elements()));
}

void dequantise_rate(benchmark::State& state, DType type) {
  const Stream stream;
  const int64_t elements = kVocabulary * 512;  // whole blocks of every type
  Tensor blocks = Tensor::zeros(DType::u8, {bytes_of(type, elements)});
  for (int64_t i = 0; i < blocks.bytes(); ++i) blocks.as<uint8_t>()[i] = static_cast<uint8_t>(i * 37 % 101);
  const ConstView weight =
      BasicView<const std::byte>{blocks.data(), type, {kVocabulary, 512}, blocks.device(), 0};
  Tensor out(DType::bf16, {kVocabulary, 512});
  for (auto _ : state) dequantise(weight, out.view(), stream);
  report_bytes(state, stream, static_cast<double>(blocks.bytes()) + bytes(DType::bf16, elements));
}

void timed(benchmark::internal::Benchmark* bench) {
  bench->UseRealTime()->Unit(benchmark::kMicrosecond);
}

BENCHMARK_CAPTURE(rms_norm_rate, bf16, DType::bf16)->Apply(timed);
BENCHMARK_CAPTURE(rms_norm_rate, f32, DType::f32)->Apply(timed);
BENCHMARK_CAPTURE(rotary_rate, bf16, DType::bf16)->Apply(timed);
BENCHMARK_CAPTURE(rotary_rate, f32, DType::f32)->Apply(timed);
BENCHMARK_CAPTURE(swiglu_rate, bf16, DType::bf16)->Apply(timed);
BENCHMARK_CAPTURE(swiglu_rate, f32, DType::f32)->Apply(timed);
BENCHMARK_CAPTURE(embedding_rate, bf16, DType::bf16)->Apply(timed);
BENCHMARK_CAPTURE(attention_rate, bf16, DType::bf16)->Arg(256)->Arg(1024)->Apply(timed);
BENCHMARK_CAPTURE(attention_rate, f32, DType::f32)->Arg(256)->Arg(1024)->Apply(timed);
BENCHMARK_CAPTURE(resblock_forward_rate, bf16, DType::bf16)->Apply(timed);
BENCHMARK_CAPTURE(resblock_backward_rate, bf16, DType::bf16)->Apply(timed);
BENCHMARK(convert_rate)->Name("convert_rate/f32_to_bf16")->Apply(timed);
BENCHMARK_CAPTURE(dequantise_rate, q4_0, DType::q4_0)->Apply(timed);
BENCHMARK_CAPTURE(dequantise_rate, q4_1, DType::q4_1)->Apply(timed);
BENCHMARK_CAPTURE(dequantise_rate, q8_0, DType::q8_0)->Apply(timed);
BENCHMARK_CAPTURE(dequantise_rate, q4_k, DType::q4_k)->Apply(timed);
BENCHMARK_CAPTURE(dequantise_rate, q6_k, DType::q6_k)->Apply(timed);

}  // namespace
}  // namespace gorgon::bench
