// What the commands that decode say and refuse, on one trained run.
#include <fstream>
#include <regex>
#include <set>
#include <tuple>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "data/file_lock.h"
#include "data/unicode.h"
#include "tests/trainer/trained_run.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

// The programs started in its life read their input from a file.
class StandardInput {
 public:
  explicit StandardInput(const fs::path& path) : kept_(::dup(STDIN_FILENO)) {
    const int file = ::open(path.c_str(), O_RDONLY);
    ::dup2(file, STDIN_FILENO);
    ::close(file);
  }
  ~StandardInput() {
    ::dup2(kept_, STDIN_FILENO);
    ::close(kept_);
  }
  StandardInput(const StandardInput&) = delete;
  StandardInput& operator=(const StandardInput&) = delete;

 private:
  int kept_;
};

void replace_in(const fs::path& file, const std::string& from, const std::string& to) {
  std::string text = file_text(file);
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from << " is not in " << file;
  std::ofstream(file, std::ios::binary) << text.replace(at, from.size(), to);
}

class DecodingCommands : public TrainedRun {
 protected:
  static ProgramResult generate(const std::string& heads, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"generate", at(heads), "--prompt", "one", "--max-new-tokens", "4"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  }
  static ProgramResult distill(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"distill",       at("run.yaml"),     "--output",
                                       at("own.jsonl"), "--max-new-tokens", "4"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  }
};

TEST_F(DecodingCommands, ChatOutlivesBadBytesOfBothSides) {
  std::ofstream(at("lines"), std::ios::binary) << "one\nb\xff"
                                               << "d\ntwo\n\nthree\n";
  const StandardInput input(at("lines"));
  const ProgramResult result = run_program({"generate", at("run"), "--chat", "--max-new-tokens", "9"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("the line@1: expected valid UTF-8, found '\\xff'; type it again"));
  EXPECT_EQ(result.err.find("valid UTF-8"), result.err.rfind("valid UTF-8")) << "more than the typed line";
  EXPECT_TRUE(find_invalid_utf8(result.out)) << "no answer was cut in a character: choose another cap";
}

// The second turn begins as the first did: what is kept of it is not computed again.
TEST_F(DecodingCommands, ChatGoesOnFromWhatItComputed) {
  std::ofstream(at("lines")) << "one two three four\none\n";
  const StandardInput input(at("lines"));
  const ProgramResult result =
      run_program({"generate", at("run"), "--chat", "--compare", "--max-new-tokens", "5"});
  ASSERT_EQ(result.status, 0) << result.err;
  std::vector<int> prefilled;
  const std::regex figure("prompt: ([0-9]+) new tokens");
  for (std::sregex_iterator at(result.out.begin(), result.out.end(), figure), end; at != end; ++at)
    prefilled.push_back(std::stoi((*at)[1]));
  ASSERT_EQ(prefilled.size(), 4u) << result.out;  // plain and medusa, twice
  EXPECT_EQ(prefilled[0], prefilled[1]);
  EXPECT_EQ(prefilled[2], prefilled[3]);
  EXPECT_LT(prefilled[2], prefilled[0]) << "a shorter question, and the header of an answer";
}

TEST_F(DecodingCommands, EmptyPromptIsSaidToBeEmpty) {
  for (const std::string prompt : {"", " \n"}) {
    const ProgramResult result = run_program({"generate", at("run"), "--prompt", prompt});
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.err, HasSubstr("--prompt: the prompt is empty"));
  }
  EXPECT_THAT(run_program({"generate", at("run"), "--prompt", "b\xff"}).err,
              HasSubstr("error: --prompt@1: expected valid UTF-8, found '\\xff'; type it again"));
}

TEST_F(DecodingCommands, EmptyPromptsOfAFileAreLeftOut) {
  std::ofstream(at("prompts.jsonl")) << R"({"messages": [{"role": "user", "content": " "}]})" << '\n';
  const std::vector<std::string> words{
      "distill", at("run.yaml"), "--output", at("own"), "--set", "train_dataset_path=" + at("prompts.jsonl")};
  ProgramResult result = run_program(words);
  EXPECT_EQ(result.status, 4);
  EXPECT_THAT(result.err, HasSubstr("found 1 row left out: an empty prompt (1)"));
  std::ofstream(at("prompts.jsonl"), std::ios::app)
      << R"({"messages": [{"role": "user", "content": "one"}]})" << '\n';
  result = run_program(words);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("(1 row)"));
}

TEST_F(DecodingCommands, SpeedsAreResults) {
  const ProgramResult result = generate("run", {"--compare", "--temperature", "1.5", "--top-p", "0.01"});
  EXPECT_THAT(result.out, HasSubstr("times as fast"));
  EXPECT_THAT(result.err, Not(HasSubstr("tokens/s")));
}

// So little probability that only the first token is left to draw: no seed makes a difference to the root of
// the first step. (Whether drafts are accepted does not depend on it.)
TEST_F(DecodingCommands, TopPReachesTheDraws) {
  const auto drawn = [](const std::string& top_p) {
    std::set<std::string> answers;
    for (int seed = 1; seed <= 6; ++seed) {
      const ProgramResult result =
          run_program({"generate", at("run"), "--prompt", "one", "--max-new-tokens", "1", "--temperature",
                       "0.5", "--top-p", top_p, "--seed", std::to_string(seed)});
      EXPECT_EQ(result.status, 0) << result.err;
      answers.insert(result.out);
    }
    return answers.size();
  };
  EXPECT_EQ(drawn("0.01"), 1u);
  EXPECT_GT(drawn("1"), 1u);
}

TEST_F(DecodingCommands, TreeOfOtherHeadsIsWarnedOf) {
  const std::string warning = "was made for other heads than";
  const ProgramResult made =
      run_program({"tree", at("run"), "--data", at("eval.jsonl"), "--output", at("tree.json")});
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_THAT(made.err, HasSubstr("traces 6/6")) << "the bar of what follows the answers";
  EXPECT_THAT(generate("run", {"--tree", at("tree.json")}).err, Not(HasSubstr(warning)));
  std::ofstream(at("list.json")) << "[[0], [1]]";
  EXPECT_THAT(generate("run", {"--tree", at("list.json")}).err, Not(HasSubstr(warning)));

  fs::copy_file(at("tree.json"), at("run/tree.json"));
  ASSERT_EQ(run_program({"export", at("run"), "--to", "hf", "--output", at("with-tree")}).status, 0);
  fs::remove(at("run/tree.json"));
  EXPECT_THAT(generate("with-tree").err, Not(HasSubstr(warning)));

  std::ofstream(at("other.json"))
      << R"({"version": 1, "made_from": {"heads_sha256": "00"}, "paths": [[0], [1]]})";
  EXPECT_THAT(generate("run", {"--tree", at("other.json")}).err, HasSubstr(warning));
  const ProgramResult evaluated = run_program({"eval", at("run"), "--data", at("eval.jsonl"), "--tree",
                                               at("other.json"), "--limit", "1", "--max-new-tokens", "2"});
  EXPECT_EQ(evaluated.status, 0) << evaluated.err;
  EXPECT_THAT(evaluated.err, HasSubstr("make it again with `gorgon tree`"));
}

TEST_F(DecodingCommands, ExportWithAnotherNumberOfHeadsIsWarnedOf) {
  ASSERT_EQ(run_program({"export", at("run"), "--to", "hf", "--output", at("export")}).status, 0);
  EXPECT_THAT(generate("export").err, Not(HasSubstr("medusa_num_heads")));
  replace_in(at("export/config.json"), "\"medusa_num_heads\": 2", "\"medusa_num_heads\": 3");
  EXPECT_THAT(generate("export").err,
              HasSubstr("medusa_num_heads is 3, but medusa_lm_head.safetensors has 2"));
}

TEST_F(DecodingCommands, ExportOfPrunedHeadsTellsTheirAcceptedLength) {
  const auto exported = [](const std::string& run) {
    const ProgramResult result =
        run_program({"export", at(run), "--to", "hf", "--output", at("export-of-" + run + "/")});
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  };
  EXPECT_THAT(exported("run").out, Not(HasSubstr("accepted length")));
  ASSERT_EQ(run_program({"train", at("run.yaml"), "--set", "max_steps=1", "--set", "medusa_vocab=seen",
                         "--set", "output_dir=" + at("pruned")})
                .status,
            0);
  const ProgramResult pruned = exported("pruned");
  EXPECT_THAT(pruned.err, testing::ContainsRegex("answers 6/6 .*traces 6/6 "));
  EXPECT_THAT(pruned.out, testing::ContainsRegex("accepted length .greedy.* on 6 prompts of .*/eval.jsonl.: "
                                                 "[1-3]\\.[0-9]+ with rows of zeros .*, the "
                                                 "run's heads [1-3]\\.[0-9]+"));
}

TEST_F(DecodingCommands, OutputsAreCheckedBeforeAnythingElse) {
  for (const std::string& output : {at("missing/out.json"), at("run")}) {
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"tree", at("run"), "--data", at("eval.jsonl")},
          {"eval", at("run"), "--data", at("eval.jsonl")},
          {"distill", at("run.yaml")}}) {
      std::vector<std::string> arguments = command;
      arguments.insert(arguments.end(), {"--output", output});
      const ProgramResult result = run_program(arguments);
      EXPECT_EQ(result.status, 6) << result.err;
      EXPECT_TRUE(result.err.starts_with("error: " + output + ": --output: expected a file that can be"))
          << result.err;
    }
  }
  EXPECT_FALSE(fs::exists(at("missing")));
}

TEST_F(DecodingCommands, ExportChecksItsPlaceBeforeItLoadsAnything) {
  std::ofstream(at("a-file")) << "kept";
  const std::vector<std::tuple<std::string, int, std::string>> cases = {
      {at("run"), 2, "expected an empty or new directory, found a directory with files"},
      {at("a-file"), 2, "expected an empty or new directory, found a file"},
      {at("a-file/below/it"), 6, at("a-file") + ": Not a directory"}};
  for (const auto& [output, status, says] : cases) {
    const ProgramResult result = run_program({"export", at("nothing"), "--to", "hf", "--output", output});
    EXPECT_EQ(result.status, status) << result.err;  // not 5: the heads were not looked for
    EXPECT_THAT(result.err, HasSubstr("error: " + output + ": --output: "));
    EXPECT_THAT(result.err, HasSubstr(says));
  }
  EXPECT_EQ(file_text(at("a-file")), "kept");
}

TEST_F(DecodingCommands, OneDistillAtATimeWritesAFile) {
  {
    const auto held = FileLock::try_take(at("own.jsonl.lock"));
    ASSERT_TRUE(held);
    const ProgramResult result = distill();
    EXPECT_EQ(result.status, 6);
    EXPECT_THAT(result.err, HasSubstr("expected a file that is free, found one in use by process " +
                                      std::to_string(::getpid())));
  }
  EXPECT_FALSE(fs::exists(at("own.jsonl.distill.json")));
  const ProgramResult result = distill();
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_FALSE(fs::exists(at("own.jsonl.lock")));
}

// Each thing that the rows depend on, one after the other.
TEST_F(DecodingCommands, DistillKnowsWhatItsRowsAreMadeFrom) {
  ASSERT_EQ(distill().status, 0);
  EXPECT_THAT(distill().out, HasSubstr("already complete"));
  const auto expect_refused = [](const ProgramResult& result, const std::string& key) {
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr("found " + key + ": "));
  };
  expect_refused(distill({"--set", "columns={role: author}"}), "columns");
  expect_refused(distill({"--set", "bf16=false"}), "dtype");
  replace_in(at("own.jsonl.distill.json"), R"("quantisation": "none")", R"("quantisation": "nf4")");
  expect_refused(distill(), "quantisation");
  replace_in(at("own.jsonl.distill.json"), R"("quantisation": "nf4")", R"("quantisation": "none")");
  replace_in(at("model/tokenizer_config.json"), "<|im_end|>' + '\\n'", "<|im_end|>' + ''");
  expect_refused(distill(), "chat_template_sha256");
  replace_in(at("model/tokenizer_config.json"), "<|im_end|>' + ''", "<|im_end|>' + '\\n'");
  const std::string tokenizer = file_text(at("model/tokenizer.json"));
  replace_in(at("model/tokenizer.json"), "\"special\":true", "\"special\":false");
  expect_refused(distill(), "tokenizer_sha256");
  std::ofstream(at("model/tokenizer.json")) << tokenizer;
  EXPECT_THAT(distill().out, HasSubstr("already complete"));
  for (const char* name : {"own.jsonl", "own.jsonl.distill.json"}) fs::remove(at(name));
}

// Rows that another quantisation or tokenizer answered are no measure for this model's accepted length.
TEST_F(DecodingCommands, AnswersOfOthersAreNotTakenForOwn) {
  ASSERT_EQ(distill({"--set", "train_dataset_path=" + at("eval.jsonl")}).status, 0);
  const auto makes_answers = [](const std::string& directory) {
    const ProgramResult result =
        run_program({"train", at("run.yaml"), "--set", "max_steps=1", "--set", "output_dir=" + at(directory),
                     "--set", "eval_dataset_path=" + at("own.jsonl")});
    EXPECT_EQ(result.status, 0) << result.err;
    return fs::exists(at(directory + "/prepared/own-answers-eval.jsonl"));
  };
  EXPECT_FALSE(makes_answers("first"));
  const std::string says = file_text(at("own.jsonl.distill.json"));
  for (const std::string key : {"quantisation", "tokenizer_sha256", "chat_template_sha256"}) {
    std::ofstream(at("own.jsonl.distill.json")) << says;
    replace_in(at("own.jsonl.distill.json"), "\"" + key + "\": \"", "\"" + key + "\": \"x");
    EXPECT_TRUE(makes_answers(key)) << key;
  }
}

// Whatever file they stand in and whatever the heads are loaded from.
TEST_F(DecodingCommands, EvalCountsThePromptsThatFlatter) {
  const auto eval = [](const std::string& heads, const std::string& data,
                       std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"eval",     at(heads),      "--data", data,      "--max-new-tokens",
                                       "3",        "--batches",    "1",      "--draft", "heads",
                                       "--output", at("seen.json")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  };
  const auto written = [](const char* key) {
    return nlohmann::json::parse(file_text(at("seen.json"))).at(key);
  };

  EXPECT_THAT(eval("run", at("eval.jsonl")).err, Not(HasSubstr("flatter")));
  EXPECT_EQ(written("prompts_trained_on"), 0);
  EXPECT_TRUE(written("prompts_tree_chosen_by").is_null());

  std::ofstream(at("mixed.jsonl")) << tiny_chats(2000, 2) << tiny_chats(7, 3);
  const std::string some = "3 of 5 prompts were trained on: figures flatter";
  EXPECT_THAT(eval("run", at("mixed.jsonl")).err, HasSubstr(some));
  EXPECT_EQ(written("prompts_trained_on"), 3);
  EXPECT_EQ(written("verdict")[0], some);
  EXPECT_THAT(file_text(at("run/report.html")), HasSubstr(some));
  EXPECT_THAT(eval("run/checkpoint-1", at("mixed.jsonl")).err, HasSubstr(some));

  ASSERT_EQ(run_program({"export", at("run"), "--to", "hf", "--output", at("seen-export")}).status, 0);
  EXPECT_THAT(eval("seen-export", at("train.jsonl")).err, HasSubstr("60 of 60 prompts were trained on"));

  ASSERT_EQ(
      run_program({"tree", at("run"), "--data", at("eval.jsonl"), "--output", at("seen-tree.json")}).status,
      0);
  std::ofstream(at("other.jsonl")) << tiny_chats(1004, 4);  // two of them in eval.jsonl
  const std::string chosen = "2 of 4 prompts are those that the tree was chosen by: figures flatter";
  EXPECT_THAT(eval("run", at("other.jsonl"), {"--tree", at("seen-tree.json")}).err, HasSubstr(chosen));
  EXPECT_EQ(written("prompts_trained_on"), 0);
  EXPECT_EQ(written("prompts_tree_chosen_by"), 2);
  EXPECT_EQ(written("verdict")[0], chosen);
}

}  // namespace
}  // namespace gorgon
