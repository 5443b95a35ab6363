#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>

#include <gtest/gtest.h>

#include "model/backbone.h"
#include "model/medusa_heads.h"

namespace gorgon {
namespace {

// Logits of a model whose blocks are multiplied as they are, against the same model converted to f32. Decoded
// values are equal to the bit; only the order of sums differs.
TEST(StoredWeights, GiveTheLogitsOfConvertedOnes) {
  if (!std::filesystem::exists(GORGON_TEST_MODEL)) GTEST_SKIP() << "scripts/fetch_model.sh fetches the model";
  const Stream stream(Device{}, 2);
  const std::vector<int32_t> tokens = {1, 9690, 198, 2683, 359};
  BackboneContext context;
  context.positions.resize(tokens.size());
  std::iota(context.positions.begin(), context.positions.end(), 0);
  context.offsets = {0, std::ssize(tokens)};
  const auto logits = [&](WeightStorage storage, DType lm_head) {
    const ModelWeights weights = load_model(GORGON_TEST_MODEL, DType::f32, stream, storage);
    EXPECT_EQ(weights.lm_head.type, lm_head);
    const Backbone backbone(weights, DType::f32);
    const Tensor states = backbone.forward(tokens, context, stream);
    Tensor out(DType::f32, {std::ssize(tokens), weights.config.vocab_size});
    backbone.logits(states.view(), out.view(), stream);
    return out;
  };
  const Tensor converted = logits(WeightStorage::converted, DType::f32);
  const Tensor stored = logits(WeightStorage::as_stored, DType::q8_0);
  double error = 0, norm = 0;
  for (int64_t i = 0; i < converted.elements(); ++i) {
    error += std::pow(static_cast<double>(converted.as<float>()[i]) - stored.as<float>()[i], 2);
    norm += std::pow(static_cast<double>(converted.as<float>()[i]), 2);
  }
  // Rounding of f32 sums through 30 layers: measured 4e-13.
  EXPECT_LT(error / norm, 1e-11);
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
