#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "model/backbone.h"
#include "model/medusa_heads.h"
#include "tests/data/temporary_directory.h"
#include "tests/model/tiny_model_files.h"

namespace gorgon {
namespace {

// Logits of some tokens in f32.
Tensor logits_of(const ModelWeights& weights, const std::vector<int32_t>& tokens, const Stream& stream) {
  BackboneContext context;
  context.positions.resize(tokens.size());
  std::iota(context.positions.begin(), context.positions.end(), 0);
  context.offsets = {0, std::ssize(tokens)};
  const Backbone backbone(weights, DType::f32);
  const Tensor states = backbone.forward(tokens, context, stream);
  Tensor out(DType::f32, {std::ssize(tokens), weights.config.vocab_size});
  backbone.logits(states.view(), out.view(), stream);
  return out;
}

double normalised_error(const Tensor& wanted, const Tensor& got) {
  double error = 0, norm = 0;
  for (int64_t i = 0; i < wanted.elements(); ++i) {
    error += std::pow(static_cast<double>(wanted.as<float>()[i]) - got.as<float>()[i], 2);
    norm += std::pow(static_cast<double>(wanted.as<float>()[i]), 2);
  }
  return error / norm;
}

// Logits of a model whose blocks are multiplied as they are, against the same model converted to f32. Decoded
// values are equal to the bit; only the order of sums differs.
TEST(StoredWeights, GiveTheLogitsOfConvertedOnes) {
  if (!std::filesystem::exists(GORGON_TEST_MODEL)) GTEST_SKIP() << "scripts/fetch_model.sh fetches the model";
  const Stream stream(Device{}, 2);
  const std::vector<int32_t> tokens = {1, 9690, 198, 2683, 359};
  const auto logits = [&](WeightStorage storage, DType lm_head) {
    const ModelWeights weights = load_model(GORGON_TEST_MODEL, DType::f32, stream, storage);
    EXPECT_EQ(weights.lm_head.type, lm_head);
    return logits_of(weights, tokens, stream);
  };
  const Tensor converted = logits(WeightStorage::converted, DType::f32);
  const Tensor stored = logits(WeightStorage::as_stored, DType::q8_0);
  // Rounding of f32 sums through 30 layers: measured 4e-13.
  EXPECT_LT(normalised_error(converted, stored), 1e-11);
}

// GGUF blocks of 32: f16 scales of 2^-7, then random quants.
GgufBlocks random_blocks(uint32_t type, size_t block_bytes, size_t blocks, std::mt19937& generator) {
  GgufBlocks result{type, {}};
  for (size_t b = 0; b < blocks; ++b) {
    result.bytes += std::string("\x00\x20", 2);
    for (size_t i = 2; i < block_bytes; ++i) result.bytes += static_cast<char>(generator());
  }
  return result;
}

// Files of mixed types (Q4_K_M and the like) keep v in more bits than q and k: all of them stay blocks.
TEST(StoredWeights, ValuesMayBeOfAnotherType) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  TinyGguf file;
  file.set_u32("llama.embedding_length", 32);
  file.tensors = {{"token_embd.weight", {5, 32}},         {"output_norm.weight", {32}},
                  {"blk.0.attn_norm.weight", {32}},       {"blk.0.attn_q.weight", {32, 32}},
                  {"blk.0.attn_k.weight", {16, 32}},      {"blk.0.attn_v.weight", {16, 32}},
                  {"blk.0.attn_output.weight", {32, 32}}, {"blk.0.ffn_norm.weight", {32}},
                  {"blk.0.ffn_gate.weight", {6, 32}},     {"blk.0.ffn_up.weight", {6, 32}},
                  {"blk.0.ffn_down.weight", {32, 6}}};
  for (const auto& [name, shape] : file.tensors) {
    std::vector<float>& values = file.values[name];
    values.resize(static_cast<size_t>(shape.front() * (shape.size() > 1 ? shape[1] : 1)));
    for (float& value : values) value = normal(generator);
  }
  constexpr uint32_t kQ5_0 = 6, kQ8_0 = 8;
  file.blocks = {{"blk.0.attn_q.weight", random_blocks(kQ5_0, 22, 32, generator)},
                 {"blk.0.attn_k.weight", random_blocks(kQ5_0, 22, 16, generator)},
                 {"blk.0.attn_v.weight", random_blocks(kQ8_0, 34, 16, generator)}};
  const TemporaryDirectory directory;
  const auto path = file.write(directory.path());
  const Stream stream(Device{}, 2);
  const std::vector<int32_t> tokens = {1, 4, 0, 2, 2, 3};
  const ModelWeights converted = load_model(path, DType::f32, stream),
                     stored = load_model(path, DType::f32, stream, WeightStorage::as_stored);
  EXPECT_TRUE(converted.layers[0].value.empty());
  EXPECT_EQ(converted.layers[0].query_key_value.rows, 64);
  EXPECT_EQ(stored.layers[0].query_key_value.type, DType::q5_0);
  EXPECT_EQ(stored.layers[0].query_key_value.rows, 48);
  EXPECT_EQ(stored.layers[0].value.type, DType::q8_0);
  EXPECT_EQ(stored.fingerprint, converted.fingerprint);
  // Decoded values are equal to the bit and so are sums of 32 terms; what follows them is the same code.
  EXPECT_LT(normalised_error(logits_of(converted, tokens, stream), logits_of(stored, tokens, stream)), 1e-12);
}

// Embeddings read from blocks, to the bit; heads begin with the same values too.
TEST(StoredWeights, CompactTablesChangeNoBits) {
  if (!std::filesystem::exists(GORGON_TEST_MODEL)) GTEST_SKIP() << "scripts/fetch_model.sh fetches the model";
  const Stream stream(Device{}, 2);
  const std::vector<int32_t> tokens = {0, 1, 9690, 49151, 198};
  for (const DType type : {DType::f32, DType::bf16}) {
    const ModelWeights converted = load_model(GORGON_TEST_MODEL, type, stream);
    const ModelWeights compact = load_model(GORGON_TEST_MODEL, type, stream, WeightStorage::compact_tables);
    EXPECT_EQ(compact.token_embedding.type, DType::q8_0);
    EXPECT_EQ(compact.lm_head.storage, compact.token_embedding.storage);
    EXPECT_EQ(compact.layers[0].down.type, type);
    EXPECT_EQ(compact.fingerprint, converted.fingerprint);
    const Shape shape = {std::ssize(tokens), converted.config.hidden_size};
    Tensor expected(DType::f32, shape), got(DType::f32, shape);
    Backbone(converted, type).embed(tokens, expected.view(), stream);
    Backbone(compact, type).embed(tokens, got.view(), stream);
    EXPECT_EQ(std::memcmp(expected.data(), got.data(), static_cast<size_t>(expected.bytes())), 0);
    const MedusaHeads of_converted =
        MedusaHeads::initialise({1, 1}, converted.lm_head, {7, 8, 49151}, type, 1, stream);
    const MedusaHeads of_compact =
        MedusaHeads::initialise({1, 1}, compact.lm_head, {7, 8, 49151}, type, 1, stream);
    const Tensor &a = of_converted.heads[0].linear, &b = of_compact.heads[0].linear;
    EXPECT_EQ(std::memcmp(a.data(), b.data(), static_cast<size_t>(a.bytes())), 0);
  }
}

}  // namespace
}  // namespace gorgon
