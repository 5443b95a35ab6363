#include "trainer/run_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"

namespace gorgon {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(RunKeys, CarryWhatLabelsAndTheModelAreMadeWith) {
  RunConfig config;
  config.max_seq_length = 77;
  config.packing = false;
  config.assistant_only_loss = false;
  config.columns = {{"messages", "conversation: \"of\" two"}};
  config.loss.heads_coefficient = 0.3;
  config.loss.decay_coefficient = 0.7;
  config.load_in_4bit = true;
  config.bnb_4bit_use_double_quant = false;
  config.output_dir = "somewhere/private";
  config.train_dataset_path = {"somewhere/private.jsonl"};
  const std::string text = run_keys(config);
  EXPECT_THAT(text, Not(HasSubstr("private")));
  RunConfig found;
  set_run_keys(text, "heads.safetensors", found);
  EXPECT_EQ(run_keys(found), text);
  EXPECT_EQ(found.max_seq_length, 77);
  EXPECT_FALSE(found.packing);
  EXPECT_EQ(found.assistant_only_loss, false);
  EXPECT_EQ(found.columns, config.columns);
  EXPECT_EQ(found.loss.heads_coefficient, 0.3);
  EXPECT_EQ(found.loss.decay_coefficient, 0.7);
  EXPECT_EQ(found.quantisation(), Quantisation::nf4);
}

TEST(RunKeys, DefaultsComeBackAsDefaults) {
  RunConfig found;
  found.max_seq_length = 3;
  set_run_keys(run_keys({}), "heads.safetensors", found);
  EXPECT_EQ(to_yaml(found), to_yaml({}));
}

TEST(RunKeys, OneLineForEachMistake) {
  const auto error_of = [](const std::string& text) -> std::string {
    RunConfig config;
    try {
      set_run_keys(text, "heads.safetensors", config);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::checkpoint);
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(error_of("max_seq_length: 8\noutput_dir: x\n"),
              HasSubstr("heads.safetensors: run_keys:2:13: expected one of max_seq_length, packing"));
  EXPECT_THAT(error_of("output_dir: x\n"),
              HasSubstr("found 'output_dir'; was it exported by a later version?"));
  EXPECT_THAT(error_of("packing: often\n"), HasSubstr("packing: expected"));
  EXPECT_THAT(error_of("[1]"), HasSubstr("expected"));
  EXPECT_THAT(error_of("max_seq_length: {"), HasSubstr("heads.safetensors: run_keys"));
}

}  // namespace
}  // namespace gorgon
