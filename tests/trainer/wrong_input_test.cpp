// Wrong inputs, end to end: one line on stderr that says where and what, the exit status of its kind, and
// nothing left behind.
#include <fstream>
#include <functional>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"
#include "tests/trainer/program.h"
#include "tests/trainer/tiny_run.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

void replace(const fs::path& path, const std::string& from, const std::string& to) {
  std::string text = file_text(path);
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << path << " has no " << from;
  text.replace(at, from.size(), to);
  std::ofstream(path, std::ios::binary) << text;
}

struct Case {
  std::string name;
  std::function<void(const fs::path& folder)> spoil;
  std::vector<std::string> arguments;  // behind `train run.yaml`
  int status;
  std::vector<std::string> says;
};

void PrintTo(const Case& row, std::ostream* out) {
  *out << row.name;
}
class WrongInput : public ::testing::TestWithParam<Case> {};

TEST_P(WrongInput, IsOneLineAndLeavesNothing) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  GetParam().spoil(folder.path());
  std::vector<std::string> arguments{"train", (folder.path() / "run.yaml").string()};
  arguments.insert(arguments.end(), GetParam().arguments.begin(), GetParam().arguments.end());
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.status, GetParam().status) << result.err;
  const size_t at = result.err.find("error: ");
  ASSERT_NE(at, std::string::npos) << result.err;
  const std::string line = result.err.substr(at);
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
  for (const std::string& part : GetParam().says) EXPECT_THAT(line, HasSubstr(part));
  EXPECT_TRUE(result.out.empty()) << result.out;
  EXPECT_FALSE(fs::exists(folder.path() / "run")) << "left behind";
}

void nothing(const fs::path&) {}

std::function<void(const fs::path&)> data_line(const std::string& line) {
  return [line](const fs::path& folder) {
    std::ofstream(folder / "train.jsonl") << tiny_chats(0, 2) << line << "\n" << tiny_chats(3, 1);
  };
}

std::function<void(const fs::path&)> cut(const std::string& file, uintmax_t keep) {
  return [=](const fs::path& folder) { fs::resize_file(folder / file, keep); };
}

INSTANTIATE_TEST_SUITE_P(
    Table, WrongInput,
    ::testing::Values(
        Case{"no_config", [](const fs::path& f) { fs::remove(f / "run.yaml"); }, {}, 2, {"run.yaml"}},
        Case{"unknown_key",
             [](const fs::path& f) { std::ofstream(f / "run.yaml", std::ios::app) << "lerning_rate: 1\n"; },
             {},
             2,
             {"run.yaml:17:1", "'lerning_rate'", "did you mean learning_rate?"}},
        Case{"mistyped_value",
             nothing,
             {"--set", "medusa_num_heads=3.5"},
             2,
             {"medusa_num_heads", "an integer", "'3.5'"}},
        Case{"unknown_option", nothing, {"--epochs", "3"}, 2, {"command line"}},
        Case{"too_long_sequences",
             nothing,
             {"--set", "max_seq_length=129"},
             2,
             {"max_seq_length", "128", "129"}},
        Case{"missing_model",
             [](const fs::path& f) { fs::remove_all(f / "model"); },
             {},
             3,
             {"model_path", "nothing there"}},
        Case{"hub_name",
             nothing,
             {"--set", "model_path=HuggingFaceTB/SmolLM2-135M"},
             3,
             {"hf download HuggingFaceTB/SmolLM2-135M --local-dir"}},
        Case{"truncated_weights", cut("model/model.safetensors", 5000), {}, 3, {"model.safetensors"}},
        Case{"weights_without_header", cut("model/model.safetensors", 5), {}, 3, {"model.safetensors"}},
        Case{"hostile_header_length",
             [](const fs::path& f) {
               std::fstream(f / "model/model.safetensors", std::ios::in | std::ios::out | std::ios::binary)
                   .write("\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
             },
             {},
             3,
             {"model.safetensors"}},
        Case{"hostile_offsets",
             [](const fs::path& f) {
               replace(f / "model/model.safetensors", "\"data_offsets\":[0,", "\"data_offsets\":[9,");
             },
             {},
             3,
             {"model.safetensors"}},
        Case{"missing_tokenizer",
             [](const fs::path& f) { fs::remove(f / "model/tokenizer.json"); },
             {},
             3,
             {"tokenizer.json"}},
        Case{"fractional_shape",
             [](const fs::path& f) { replace(f / "model/config.json", "32,", "32.5,"); },
             {},
             3,
             {"config.json", "hidden_size"}},
        Case{
            "missing_data", [](const fs::path& f) { fs::remove(f / "train.jsonl"); }, {}, 4, {"train.jsonl"}},
        Case{"missing_eval_data",
             [](const fs::path& f) { fs::remove(f / "eval.jsonl"); },
             {},
             4,
             {"eval.jsonl"}},
        Case{"missing_weights",
             [](const fs::path& f) { fs::remove(f / "model/model.safetensors"); },
             {},
             3,
             {"model", ".safetensors"}},
        Case{"missing_model_config",
             [](const fs::path& f) { fs::remove(f / "model/config.json"); },
             {},
             3,
             {"model/config.json"}},
        // Told before the weights are read: the damage to them (a NaN) is not met.
        Case{"data_before_weights",
             [](const fs::path& f) {
               data_line("{\"messages\": [}")(f);
               write_final_norm(f, std::numeric_limits<float>::quiet_NaN());
             },
             {},
             4,
             {"train.jsonl:3:"}},
        Case{"nan_weight",
             [](const fs::path& f) { write_final_norm(f, std::numeric_limits<float>::quiet_NaN()); },
             {},
             3,
             {"model.norm.weight", "finite weights"}},
        Case{"table_as_data",
             [](const fs::path& f) { std::ofstream(f / "train.jsonl") << "question,answer\nx,y\n"; },
             {},
             4,
             {"train.jsonl", "JSONL", "a table (CSV)", "'question,answer'", "csv.DictReader"}},
        Case{"json_list_as_data",
             [](const fs::path& f) { std::ofstream(f / "eval.jsonl") << "[{\"text\": \"a\"}]"; },
             {},
             4,
             {"eval.jsonl", "a JSON list", "jq -c '.[]'"}},
        Case{"model_as_data",
             [](const fs::path& f) { std::ofstream(f / "train.jsonl") << "GGUF" << std::string(64, '\0'); },
             {},
             4,
             {"train.jsonl", "a GGUF model", "model_path"}},
        Case{"no_json", data_line("{\"messages\": [}"), {}, 4, {"train.jsonl:3:"}},
        Case{"cut_line", data_line("{\"messages\": [{\"role\": \"user\", \"cont"), {}, 4, {"train.jsonl:3:"}},
        Case{"wrong_key", data_line("{\"conversation\": []}"), {}, 4, {"train.jsonl:3", "conversation"}},
        Case{"not_utf8", data_line("{\"text\": \"\xff\"}"), {}, 4, {"train.jsonl:3"}},
        Case{"no_assistant",
             [](const fs::path& f) {
               std::ofstream(f / "train.jsonl") << R"({"messages": [{"role": "user", "content": "hello"}]})"
                                                << "\n";
             },
             {},
             4,
             {"train.jsonl: expected a usable row, found 1 row: 1 with no assistant turn"}},
        Case{"id_beyond_vocabulary",
             [](const fs::path& f) {
               std::ofstream(f / "train.jsonl")
                   << R"({"input_ids": [1, 2, 999, 3, 4], "labels": [1, 2, 999, 3, 4]})"
                   << "\n";
             },
             {},
             4,
             {"train.jsonl", "999"}},
        Case{"empty_data",
             [](const fs::path& f) { std::ofstream(f / "train.jsonl") << ""; },
             {},
             4,
             {"train.jsonl"}},
        // The tokenizer is another model's: what it writes has no row in the embedding of 536 tokens.
        Case{"token_without_a_row",
             [](const fs::path& f) {
               replace(f / "model/tokenizer.json", "\"added_tokens\":[",
                       "\"added_tokens\":[{\"id\":900,\"content\":\"stars\",\"special\":true},");
             },
             {},
             3,
             {"tokenizer.json", "token 'stars'", "536 rows", "found id 900"}},
        Case{"read_only_output",
             nothing,
             {"--set", "output_dir=/sys/gorgon-run"},
             6,
             {"/sys/gorgon-run", "a directory that can be written", "choose another output_dir"}},
        Case{"output_is_a_file", nothing, {"--set", "output_dir=/dev/null/run"}, 6, {"/dev/null/run"}},
        Case{"no_gpu", nothing, {"--set", "device=cuda"}, 6, {"cuda"}}),
    [](const auto& row) { return row.param.name; });

// The real model's file, cut: one line, and quickly.
TEST(WrongInputGguf, TruncatedAndHostile) {
  if (!fs::exists(GORGON_TEST_MODEL)) GTEST_SKIP() << "scripts/fetch_model.sh fetches " << GORGON_TEST_MODEL;
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  std::string head(4 << 20, '\0');
  std::ifstream(GORGON_TEST_MODEL, std::ios::binary)
      .read(head.data(), static_cast<std::streamsize>(head.size()));
  std::string hostile = head;
  hostile.replace(8, 8, "\xff\xff\xff\xff\xff\xff\xff\x7f");  // the number of tensors
  for (const std::string& bytes : {head, head.substr(0, 20), hostile, std::string("no GGUF")}) {
    std::ofstream(folder.path() / "cut.gguf", std::ios::binary) << bytes;
    const ProgramResult result = run_program({"train", (folder.path() / "run.yaml").string(), "--set",
                                              "model_path=" + (folder.path() / "cut.gguf").string()});
    EXPECT_EQ(result.status, 3) << result.err;
    EXPECT_THAT(result.err, HasSubstr("cut.gguf"));
    EXPECT_FALSE(fs::exists(folder.path() / "run"));
  }
}

// A model whose states overflow: every step is skipped and named, and ten in a row end the run.
TEST(WrongInputNumbers, TenStepsWithoutFiniteNumbersEndTheRun) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  write_final_norm(folder.path(), 3e38f);
  const ProgramResult result =
      run_program({"train", (folder.path() / "run.yaml").string(), "--set", "max_steps=50", "--set",
                   "eval_steps=0", "--set", "save_steps=0"});
  EXPECT_EQ(result.status, 8) << result.err;
  EXPECT_THAT(result.err, HasSubstr("step 1 is skipped: head 1 is not finite"));
  EXPECT_THAT(result.err,
              HasSubstr("step 10, head 1: expected finite numbers, found 10 steps in a row without"));
  EXPECT_FALSE(fs::exists(folder.path() / "run" / "medusa_heads.safetensors"));
}

TEST(WrongInputArguments, CountsBelowOne) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  const ProgramResult result =
      run_program({"prepare", (folder.path() / "run.yaml").string(), "--preview", "0"});
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(result.err,
            "error: command line: --preview: expected a whole number from 1, found '0'; gorgon prepare "
            "--help shows what there is\n");
}

TEST(WrongInputOutput, ForeignFilesStay) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  fs::create_directory(folder.path() / "run");
  std::ofstream(folder.path() / "run" / "thesis.tex") << "x";
  const ProgramResult result = run_program({"train", (folder.path() / "run.yaml").string()});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr((folder.path() / "run").string() +
                                    ": output_dir: expected an empty directory, or a run of gorgon, found "
                                    "'thesis.tex' in it; choose another output_dir or add --force"));
  EXPECT_FALSE(fs::exists(folder.path() / "run" / "prepared"));
  EXPECT_FALSE(fs::exists(folder.path() / "run" / ".lock"));
}

TEST(WrongInputEval, SaysWhatIsMissing) {
  const TemporaryDirectory folder;
  write_tiny_run(folder.path());
  const std::string data = (folder.path() / "eval.jsonl").string();
  ProgramResult result = run_program({"eval", (folder.path() / "nothing").string(), "--data", data});
  EXPECT_EQ(result.status, 5);
  EXPECT_THAT(result.err, HasSubstr("a run directory, a checkpoint or an export"));
  ASSERT_EQ(run_program({"train", (folder.path() / "run.yaml").string(), "--set", "max_steps=1"}).status, 0);
  fs::copy(folder.path() / "model", folder.path() / "other", fs::copy_options::recursive);
  std::fstream weights(folder.path() / "other/model.safetensors",
                       std::ios::in | std::ios::out | std::ios::binary);
  weights.seekp(-4, std::ios::end).write("\0\0\0\0", 4);
  weights.close();
  result = run_program({"eval", (folder.path() / "run").string(), "--data", data, "--model",
                        (folder.path() / "other").string()});
  EXPECT_EQ(result.status, 5);
  EXPECT_THAT(result.err, HasSubstr("--model"));
}

}  // namespace
}  // namespace gorgon
