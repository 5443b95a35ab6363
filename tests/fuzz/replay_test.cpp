#include <filesystem>
#include <map>
#include <span>
#include <string>

#include <gtest/gtest.h>

#include "data/file.h"
#include "tests/data/expect_error.h"
#include "tests/fuzz/targets.h"

namespace gorgon {
namespace {

using Target = void (*)(std::span<const std::byte>);

const std::map<std::string, Target>& targets() {
  static const std::map<std::string, Target> all = {{"chat_template", fuzz_chat_template},
                                                    {"dataset_file", fuzz_dataset_file},
                                                    {"encode", fuzz_encode},
                                                    {"event_file", fuzz_event_file},
                                                    {"gguf", fuzz_gguf},
                                                    {"json", fuzz_json},
                                                    {"jsonl", fuzz_jsonl},
                                                    {"manifest", fuzz_manifest},
                                                    {"model_config", fuzz_model_config},
                                                    {"safetensors", fuzz_safetensors},
                                                    {"shard_index", fuzz_shard_index},
                                                    {"state_cache", fuzz_state_cache},
                                                    {"tokenizer_json", fuzz_tokenizer_json},
                                                    {"tree_file", fuzz_tree_file},
                                                    {"yaml_config", fuzz_yaml_config}};
  return all;
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& target : targets()) all.push_back(target.first);
  return all;
}

// The inputs kept in regress/ (hand-made corners, and whatever a fuzzer found), run without the fuzzer.
class Replay : public testing::TestWithParam<std::string> {};

TEST_P(Replay, KeptInputsGiveAValueOrATypedError) {
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator("tests/fuzz/regress/" + GetParam())) {
    SCOPED_TRACE(entry.path().string());
    const auto bytes = exact_bytes(read_text(entry.path(), ExitCode::model));
    EXPECT_NO_THROW(targets().at(GetParam())(bytes));
    ++inputs;
  }
  EXPECT_GT(inputs, 0);
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Replay, testing::ValuesIn(names()),
                         [](const auto& target) { return target.param; });

}  // namespace
}  // namespace gorgon
