#include <filesystem>

#include <gtest/gtest.h>

#include "data/file.h"
#include "data/json.h"
#include "model/decoder.h"

namespace gorgon {
namespace {

// The real model's greedy answers are those of transformers' generate(), token by token: all of them decoded
// plainly in batches, and the first few alone by prompt lookup. tests/oracle/greedy_answers.py made the
// golden file.
TEST(GreedyAnswers, EqualTransformers) {
  if (!std::filesystem::exists(GORGON_TEST_MODEL)) GTEST_SKIP() << "scripts/fetch_model.sh fetches the model";
  const Json golden =
      Json::parse(read_text(std::string(GORGON_TEST_DATA) + "/decoding/greedy_answers.json", ExitCode::data));
  const Stream stream(Device{}, 2);
  const ModelWeights weights = load_model(GORGON_TEST_MODEL, DType::f32, stream, WeightStorage::as_stored);
  const Backbone backbone(weights, DType::f32);
  DecoderOptions options;
  options.max_new_tokens = golden["cap"];
  options.stop_tokens = {golden["stop"].get<int32_t>()};
  for (const bool lookup : {false, true}) {
    options.lookup = lookup;
    const size_t rows = lookup ? 6 : golden["rows"].size();
    size_t answered = 0;
    Decoder decoder(backbone, nullptr, options, stream);
    uint64_t next = 0;
    decoder.run(
        [&](DecodeRequest& request) {
          if (next == rows) return false;
          request = {next, golden["rows"][next]["prompt"].get<std::vector<int32_t>>()};
          ++next;
          return true;
        },
        lookup ? 1 : 10,
        [&](const DecodeRequest& request, Answer& answer) {
          EXPECT_EQ(answer.tokens, golden["rows"][request.id]["answer"].get<std::vector<int32_t>>())
              << request.id;
          ++answered;
        });
    EXPECT_EQ(answered, lookup ? 6u : 30u);
  }
}

}  // namespace
}  // namespace gorgon
