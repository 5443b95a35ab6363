#include "trainer/state_source.h"

#include <cstring>
#include <numeric>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace gorgon {
namespace {

// Random sequences with random masks, short ones among them.
Sequences random_sequences(unsigned seed, double supervised) {
  std::mt19937 random(seed);
  Sequences sequences;
  sequences.offsets.push_back(0);
  for (const int64_t length : {1, 2, 3, 40, 7, 25, 4}) {
    sequences.first_id.push_back(1000 * sequences.count());
    for (int64_t i = 0; i < length; ++i) {
      sequences.tokens.push_back(static_cast<int32_t>(random() % 96));
      const bool keep = static_cast<double>(random() % 1000) < 1000 * supervised;
      sequences.labels.push_back(keep ? sequences.tokens.back() : kIgnoreIndex);
      sequences.segments.push_back(static_cast<int32_t>(i / 5));
    }
    sequences.offsets.push_back(sequences.offsets.back() + length);
  }
  return sequences;
}

// The definition, position by position.
RowTable plain_rows(const Sequences& s, int heads) {
  RowTable table;
  for (size_t i = 0; i + 1 < s.offsets.size(); ++i) {
    for (int64_t t = s.offsets[i]; t < s.offsets[i + 1]; ++t) {
      std::vector<int32_t> targets;
      bool any = false;
      for (int k = 1; k <= heads; ++k) {
        const int64_t target = t + 1 + k;
        targets.push_back(target < s.offsets[i + 1] ? s.labels[static_cast<size_t>(target)] : kIgnoreIndex);
        any = any || targets.back() != kIgnoreIndex;
      }
      if (!any) continue;
      table.row.push_back(static_cast<int32_t>(t));
      table.targets.insert(table.targets.end(), targets.begin(), targets.end());
      table.id.push_back(s.first_id[i] + t - s.offsets[i]);
    }
  }
  return table;
}

TEST(SupervisedRows, AreThoseOfTheDefinition) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    for (const double supervised : {0.0, 0.05, 0.5, 1.0}) {
      const Sequences sequences = random_sequences(seed, supervised);
      for (const int heads : {1, 3, 5, 50}) {
        const RowTable rows = supervised_rows(sequences, heads), wanted = plain_rows(sequences, heads);
        ASSERT_EQ(rows.row, wanted.row) << heads << " heads, share " << supervised;
        ASSERT_EQ(rows.targets, wanted.targets);
        ASSERT_EQ(rows.id, wanted.id);
      }
    }
  }
}

class StateRowsOfTinyModel : public testing::Test {
 protected:
  const Stream stream_{{}, 2};
  const ModelWeights weights_ =
      load_model(std::string(GORGON_TEST_DATA) + "/tiny_models/llama_tied", DType::f32, stream_);
  const Backbone backbone_{weights_, DType::f32};
};

TEST_F(StateRowsOfTinyModel, HoldWhatEachSequenceAloneComputesForAnyMicroBatch) {
  constexpr int kHeads = 3;
  const Sequences sequences = random_sequences(3, 0.2);
  const RowTable wanted = plain_rows(sequences, kHeads);
  const auto width = static_cast<size_t>(weights_.config.hidden_size);
  for (const int64_t micro_batch : {1, 2, 5, 100}) {
    const StateRows rows = forward_state_rows(backbone_, sequences, kHeads, micro_batch, stream_);
    ASSERT_EQ(rows.rows(), static_cast<int64_t>(wanted.row.size()));
    ASSERT_LE(rows.states(), static_cast<int64_t>(sequences.tokens.size()));
    for (int64_t p = 0; p < rows.rows(); ++p) {
      const auto i = static_cast<size_t>(p);
      ASSERT_EQ(rows.id.as<int64_t>()[p], wanted.id[i]);
      for (size_t k = 0; k < kHeads; ++k) {
        ASSERT_EQ(rows.targets.as<int32_t>()[i * kHeads + k], wanted.targets[i * kHeads + k]);
      }
      const auto sequence = static_cast<size_t>(wanted.id[i] / 1000);
      const int64_t begin = sequences.offsets[sequence], length = sequences.offsets[sequence + 1] - begin;
      BackboneContext context;
      context.positions.resize(static_cast<size_t>(length));
      std::iota(context.positions.begin(), context.positions.end(), 0);
      context.offsets = {0, length};
      const Tensor states = backbone_.forward(
          std::span(sequences.tokens).subspan(static_cast<size_t>(begin), static_cast<size_t>(length)),
          context, stream_);
      const float* own = rows.hidden.as<float>() + static_cast<size_t>(rows.row.as<int32_t>()[p]) * width;
      const float* alone = states.as<float>() + static_cast<size_t>(wanted.row[i] - begin) * width;
      ASSERT_EQ(std::memcmp(own, alone, width * sizeof(float)), 0) << "row " << p;
    }
  }
}

TEST_F(StateRowsOfTinyModel, AreEmptyWhereNothingIsSupervised) {
  const StateRows rows = forward_state_rows(backbone_, random_sequences(3, 0.0), 3, 2, stream_);
  EXPECT_EQ(rows.rows(), 0);
  EXPECT_EQ(rows.states(), 0);
}

}  // namespace
}  // namespace gorgon
