// What a person gets wrong when decoding with trained heads: one line on stderr that says where and what, the
// exit status of its kind, no output file.
#include <algorithm>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/safetensors.h"
#include "kernels/tensor.h"
#include "tests/trainer/trained_run.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class WrongDecodingInput : public TrainedRun {
 protected:
  static std::string write(const std::string& name, const std::string& text) {
    std::ofstream(at(name)) << text;
    return at(name);
  }
  // tree and distill over `data`.
  static void expect_both_refuse(const std::string& data, const std::string& says) {
    expect_refused({"tree", at("run"), "--data", data, "--output", at("out.json")}, 4, says);
    expect_refused(
        {"distill", at("run.yaml"), "--set", "train_dataset_path=" + data, "--output", at("out.json")}, 4,
        says);
  }
  // Labels count without any prompt (texts have none), so eval goes on to say what it left out.
  static void expect_labels_alone(const std::string& data, const std::string& says) {
    const ProgramResult result = run_program({"eval", at("run"), "--data", data});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr(says));
    EXPECT_THAT(result.err, HasSubstr("no prompts to decode: only the labels were looked at"));
  }
  static void expect_refused(const std::vector<std::string>& arguments, int status, const std::string& says) {
    const ProgramResult result = run_program(arguments);
    SCOPED_TRACE(arguments[0]);
    EXPECT_EQ(result.status, status) << result.err;
    const size_t from = result.err.find("error: ");
    ASSERT_NE(from, std::string::npos) << result.err;
    const std::string line = result.err.substr(from);
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
    EXPECT_THAT(line, HasSubstr(says));
    EXPECT_EQ(result.out, "");
    EXPECT_FALSE(fs::exists(at("out.json")));
  }
};

TEST_F(WrongDecodingInput, NoPrompts) {
  const std::string empty = write("empty.jsonl", "");
  expect_both_refuse(empty, "empty.jsonl: expected prompts to answer, found no rows");
  expect_refused({"eval", at("run"), "--data", empty, "--output", at("out.json")}, 4, "empty.jsonl");
  // Supervised from its first token on: there is nothing before the answer.
  const std::string answer =
      write("answer.jsonl", "{\"input_ids\": [5, 6, 7, 8], \"labels\": [5, 6, 7, 8]}\n");
  expect_both_refuse(answer, "answer.jsonl: expected prompts to answer, found 1 row left out: no prompt (1)");
  expect_labels_alone(answer, "1 row left out: no prompt (1)");
  expect_refused({"generate", at("run"), "--prompt", ""}, 2, "--prompt");
}

TEST_F(WrongDecodingInput, PromptsLongerThanTheContext) {
  std::string words;
  for (int i = 0; i < 200; ++i) words += "word ";
  const std::string data = write("long.jsonl", R"({"messages": [{"role": "user", "content": ")" + words +
                                                   R"("}, {"role": "assistant", "content": "yes"}]})" + "\n");
  expect_both_refuse(data, "longer than 127 tokens (1)");
  expect_labels_alone(data, "longer than 127 tokens (1)");
  expect_refused({"generate", at("run"), "--prompt", words}, 4, "expected 1 to 127 tokens");
}

// What `gorgon tree` and `distill` take, `eval` takes too: there are just no labels to compare with.
TEST_F(WrongDecodingInput, PromptsWithoutAnswersAreDecoded) {
  const std::string data = write("asked.jsonl", R"({"messages": [{"role": "user", "content": "one two"}]})");
  const ProgramResult result = run_program({"eval", at("run"), "--data", data, "--max-new-tokens", "4",
                                            "--batches", "1", "--output", at("asked.json")});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("no labels in the data"));
  EXPECT_THAT(result.out, Not(HasSubstr("against the labels")));
  const auto report = nlohmann::json::parse(file_text(at("asked.json")));
  EXPECT_TRUE(report["loss"].is_null());
  EXPECT_TRUE(report["heads"][0]["top1"].is_null());
  EXPECT_EQ(report["heads"][0]["count"], 0);
  EXPECT_EQ(report["prompts"], 1);
}

TEST_F(WrongDecodingInput, TreeDeeperThanTheHeads) {
  const std::string tree = write("deep.json", "[[0], [0, 0], [0, 0, 0]]");  // K = 2
  const std::string says = "deep.json: paths[2]: expected at most 2 ranks (one a head), found 3";
  expect_refused({"eval", at("run"), "--data", at("eval.jsonl"), "--tree", tree, "--output", at("out.json")},
                 2, says);
  expect_refused({"generate", at("run"), "--prompt", "one", "--tree", tree}, 2, says);
}

TEST_F(WrongDecodingInput, HeadsForAnotherModel) {
  fs::copy(at("model"), at("other"), fs::copy_options::recursive);
  std::fstream weights(at("other/model.safetensors"), std::ios::in | std::ios::out | std::ios::binary);
  weights.seekp(-4, std::ios::end).write("\0\0\0\0", 4);
  weights.close();
  const std::string says = "give the model they were trained for: --model";
  expect_refused(
      {"eval", at("run"), "--data", at("eval.jsonl"), "--model", at("other"), "--output", at("out.json")}, 5,
      says);
  expect_refused(
      {"tree", at("run"), "--data", at("eval.jsonl"), "--model", at("other"), "--output", at("out.json")}, 5,
      says);
  expect_refused({"generate", at("run"), "--model", at("other"), "--prompt", "one"}, 5, says);
}

// No fingerprint in the file, as heads from elsewhere: shapes tell.
TEST_F(WrongDecodingInput, HeadsOfAnotherSize) {
  fs::copy(at("run"), at("small"), fs::copy_options::recursive);
  std::vector<SafetensorsOutput> tensors;
  for (const std::string name : {"0.0.linear.weight", "0.0.linear.bias", "0.1.weight"}) {
    const auto values = std::make_shared<Tensor>(Tensor::zeros(DType::f32, {16 * 16}));
    std::vector<int64_t> shape = {16, 16};
    if (name == "0.0.linear.bias") shape = {16};
    const auto bytes = static_cast<size_t>(name == "0.0.linear.bias" ? 16 * 4 : 16 * 16 * 4);
    tensors.push_back(
        {name, DType::f32, shape, [values, bytes] { return std::span(values->data(), bytes); }});
  }
  write_safetensors(at("small/medusa_heads.safetensors"), tensors, {});
  const std::string says = "were these heads trained for this model?";
  expect_refused({"eval", at("small"), "--data", at("eval.jsonl"), "--output", at("out.json")}, 5, says);
  expect_refused({"tree", at("small"), "--data", at("eval.jsonl"), "--output", at("out.json")}, 5, says);
  expect_refused({"generate", at("small"), "--prompt", "one"}, 5, says);
}

}  // namespace
}  // namespace gorgon
