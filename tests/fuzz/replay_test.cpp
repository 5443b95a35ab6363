// Kept inputs of the fuzzers: seeds, and every one that once found a fault.
#include <filesystem>
#include <map>

#include <gtest/gtest.h>

#include "data/file.h"
#include "tests/data/expect_error.h"
#include "tests/fuzz/targets.h"

namespace gorgon {
namespace {

class Replay : public testing::TestWithParam<std::string> {};

TEST_P(Replay, KeptInputsGiveAValueOrATypedError) {
  const std::map<std::string, void (*)(std::span<const std::byte>)> targets = {
      {"chat_template", fuzz_chat_template},
      {"encode", fuzz_encode},
      {"gguf", fuzz_gguf},
      {"json", fuzz_json},
      {"safetensors", fuzz_safetensors},
      {"tokenizer_json", fuzz_tokenizer_json}};
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator("tests/fuzz/regress/" + GetParam())) {
    SCOPED_TRACE(entry.path().string());
    const auto bytes = exact_bytes(read_text(entry.path(), ExitCode::data));
    EXPECT_NO_THROW(targets.at(GetParam())(bytes));
    ++inputs;
  }
  EXPECT_GT(inputs, 0);
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Replay,
                         testing::Values("chat_template", "encode", "gguf", "json", "safetensors",
                                         "tokenizer_json"),
                         [](const auto& target) { return target.param; });

}  // namespace
}  // namespace gorgon
