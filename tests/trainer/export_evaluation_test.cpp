// `gorgon eval` of an export beside that of its run.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/trainer/trained_run.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class ExportEvaluation : public TrainedRun {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory;
    write_tiny_run(folder_->path());
    std::vector<std::string> train{"train", at("run.yaml")};
    for (const char* key :
         {"max_steps=2", "eval_steps=0", "bf16=false", "max_seq_length=17", "packing=false",
          "assistant_only_loss=false", "medusa_heads_coefficient=0.3", "medusa_decay_coefficient=0.6"}) {
      train.insert(train.end(), {"--set", key});
    }
    const ProgramResult trained = run_program(train);
    ASSERT_EQ(trained.status, 0) << trained.err;
    const ProgramResult exported = run_program({"export", at("run"), "--to", "hf", "--output", at("export")});
    ASSERT_EQ(exported.status, 0) << exported.err;
  }
  // What is said of labels, and stderr.
  static std::pair<nlohmann::json, std::string> evaluate(const std::string& heads) {
    const ProgramResult result =
        run_program({"eval", at(heads), "--data", at("eval.jsonl"), "--max-new-tokens", "2", "--batches", "1",
                     "--draft", "heads", "--output", at("out.json")});
    EXPECT_EQ(result.status, 0) << result.err;
    return {nlohmann::json::parse(file_text(at("out.json"))), result.err};
  }
};

// The same ops in another order of rows: sums of some hundred f32 logits, rounded at 2^-24 each.
TEST_F(ExportEvaluation, LabelsAreThoseOfTheRun) {
  const auto [run, unused] = evaluate("run");
  const auto [exported, says] = evaluate("export");
  EXPECT_THAT(says, Not(HasSubstr("says nothing of its run")));
  EXPECT_NEAR(exported["loss"].get<double>(), run["loss"].get<double>(), 1e-5 * run["loss"].get<double>());
  ASSERT_EQ(run["heads"].size(), 2u);
  for (size_t k = 0; k < 2; ++k) {
    const auto &expected = run["heads"][k], &found = exported["heads"][k];
    EXPECT_EQ(found["count"], expected["count"]);
    EXPECT_NEAR(found["ce"].get<double>(), expected["ce"].get<double>(), 1e-5 * expected["ce"].get<double>());
    for (const char* top : {"top1", "top3", "top5"}) EXPECT_EQ(found[top], expected[top]) << top;
  }
  // The figures of the model's own answers do not hang on the keys.
  EXPECT_EQ(exported["own_answers"]["heads"], run["own_answers"]["heads"]);
}

// An export of another program, or of an earlier version: it is said what labels are made with.
TEST_F(ExportEvaluation, WithoutTheKeysItIsSaidWhatIsUsed) {
  fs::copy(at("export"), at("foreign"), fs::copy_options::recursive);
  const std::string file = at("foreign/medusa_lm_head.safetensors");
  std::string bytes = file_text(file);
  const size_t key = bytes.find("run_keys");
  ASSERT_NE(key, std::string::npos);
  std::ofstream(file, std::ios::binary) << bytes.replace(key, 8, "not_keys");
  const auto [run, unused] = evaluate("run");
  const auto [foreign, says] = evaluate("foreign");
  EXPECT_THAT(says, HasSubstr("says nothing of its run: labels are made with the default keys "
                              "(max_seq_length 128, packing, answers alone of chats)"));
  EXPECT_NE(foreign["heads"][0]["count"], run["heads"][0]["count"]);
}

}  // namespace
}  // namespace gorgon
