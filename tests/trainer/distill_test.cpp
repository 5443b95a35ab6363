#include "trainer/distill.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/file.h"
#include "data/json.h"
#include "kernels/error.h"
#include "tests/data/temporary_directory.h"
#include "tests/model/tiny_model.h"

namespace gorgon {
namespace {

// Prompts as rows of tokens: their rows carry no messages, so no tokenizer is needed beyond a tiny one.
class DistillTest : public testing::Test {
 protected:
  DistillTest() {
    for (int i = 0; i < 40; ++i) {
      Prompt prompt;
      prompt.tokens = model_.prompt(3 + i % 9);
      prompts_.push_back(prompt);
    }
    options_.decoder.max_new_tokens = 12;
    options_.decoder.stop_tokens = {3};
    options_.batch = 5;
    options_.identity = "{}\n";
  }
  DistillOutcome run(const std::filesystem::path& output) {
    return distill(backbone_, prompts_, tokenizer_, options_, output, stream_, share_, {});
  }

  TinyModel model_{41};
  Stream stream_{Device{}, 2};
  Backbone backbone_{model_.weights(), DType::f32};
  Tokenizer tokenizer_ = Tokenizer::from_directory(std::string(GORGON_TEST_DATA) + "/tokenizer/smollm");
  RankGroup alone_;
  RankShare share_{alone_, [] { return false; }};
  std::vector<Prompt> prompts_;
  DistillOptions options_;
  TemporaryDirectory folder_;
};

TEST_F(DistillTest, RowsHoldPromptAndAnswer) {
  const auto output = folder_.path() / "a.jsonl";
  EXPECT_EQ(run(output), DistillOutcome::complete);
  std::ifstream lines(output);
  std::string line;
  size_t i = 0;
  for (; std::getline(lines, line); ++i) {
    const Json row = Json::parse(line);
    EXPECT_EQ(row["id"], i);
    const auto ids = row["input_ids"].get<std::vector<int32_t>>(),
               labels = row["labels"].get<std::vector<int32_t>>();
    const size_t n = prompts_[i].tokens.size();
    ASSERT_GT(ids.size(), n);
    EXPECT_EQ(std::vector<int32_t>(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n)),
              prompts_[i].tokens);
    for (size_t t = 0; t < ids.size(); ++t) EXPECT_EQ(labels[t], t < n ? -100 : ids[t]);
    EXPECT_EQ(row["finish"], ids.back() == 3 ? "stop" : "length");
    EXPECT_LE(ids.size(), n + 12);
  }
  EXPECT_EQ(i, prompts_.size());
  EXPECT_FALSE(std::filesystem::exists(output.string() + ".partial"));
  EXPECT_EQ(run(output), DistillOutcome::was_complete);
  options_.identity = "{\"seed\": 2}\n";
  EXPECT_THROW(run(output), Error);
}

// Cut anywhere, the file is completed to the same bytes.
TEST_F(DistillTest, ResumesWithoutRepeatingOrLosingARow) {
  const auto whole = folder_.path() / "whole.jsonl", cut = folder_.path() / "cut.jsonl";
  run(whole);
  const std::string expected = read_text(whole, ExitCode::data);
  for (const size_t bytes : {size_t{0}, size_t{1}, expected.size() / 3, expected.size() / 2,
                             expected.size() - 1, expected.size()}) {
    std::filesystem::remove(cut);
    write_atomically(cut.string() + ".partial", expected.substr(0, bytes));
    write_atomically(cut.string() + ".distill.json", options_.identity);
    options_.batch = 1 + static_cast<int64_t>(bytes % 7);
    EXPECT_EQ(run(cut), DistillOutcome::complete);
    EXPECT_EQ(read_text(cut, ExitCode::data), expected) << bytes;
  }
}

TEST_F(DistillTest, RefusesRowsOfOtherSettingsAndNamesThem) {
  const auto output = folder_.path() / "a.jsonl";
  const std::filesystem::path partial = output.string() + ".partial",
                              says = output.string() + ".distill.json";
  const std::string rows = "{\"id\": 0}\n";
  const auto expect_refused = [&](const std::filesystem::path& file, const std::string& what) {
    try {
      run(output);
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::config);
      EXPECT_THAT(error.what(), testing::HasSubstr(what));
      EXPECT_THAT(error.what(), testing::HasSubstr("remove it or give another name"));
    }
    EXPECT_EQ(read_text(file, ExitCode::data), rows) << "rows were lost";
  };
  options_.identity = R"({"dtype": "f32", "columns": {}, "seed": 4, "quantisation": "nf4"})";
  write_atomically(partial, rows);
  expect_refused(partial, "found one of unknown origin");
  write_atomically(says, R"({"dtype": "f32", "columns": {}, "seed": 9})");
  expect_refused(partial, R"(found quantisation: none -> '"nf4"'; seed: '9' -> '4';)");
  write_atomically(says, "{\"dtype\": ");
  expect_refused(partial, "found one of unknown origin");
  write_atomically(says,
                   R"({"dtype": "f32", "columns": {"role": "from"}, "seed": 4, "quantisation": "nf4"})");
  std::filesystem::rename(partial, output);
  expect_refused(output, "found columns:");
}

TEST_F(DistillTest, NothingIsLostWhereNoRowIsThere) {
  const auto output = folder_.path() / "a.jsonl";
  write_atomically(output.string() + ".partial", "");
  write_atomically(output.string() + ".distill.json", "{\"seed\": 9}\n");
  EXPECT_EQ(run(output), DistillOutcome::complete);
  EXPECT_EQ(read_text(output.string() + ".distill.json", ExitCode::data), options_.identity);
}

TEST_F(DistillTest, DrawsDependOnTheSeedAlone) {
  options_.decoder.temperature = 1.2;
  options_.decoder.top_p = 0.9;
  options_.decoder.seed = 4;
  run(folder_.path() / "a.jsonl");
  options_.batch = 3;
  run(folder_.path() / "b.jsonl");
  options_.decoder.seed = 5;
  run(folder_.path() / "c.jsonl");
  const auto text = [&](const char* name) { return read_text(folder_.path() / name, ExitCode::data); };
  EXPECT_EQ(text("a.jsonl"), text("b.jsonl"));
  EXPECT_NE(text("a.jsonl"), text("c.jsonl"));
}

}  // namespace
}  // namespace gorgon
