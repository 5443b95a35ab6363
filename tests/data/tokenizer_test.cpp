// Ids, spans and decoded texts against Hugging Face's tokenizers (tests/oracle/tokenizers_golden.py) and, for
// the real model, against tests/golden/reference/tokenize.json.
#include "data/tokenizer.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path golden(const std::string& name) {
  return fs::path(GORGON_TEST_DATA) / name;
}

json read_json(const fs::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  return json::parse(file);
}

// The reference counts in characters: a span that cuts one is widened to whole characters.
void widen(std::string_view text, int64_t& begin, int64_t& end) {
  const auto inside = [text](int64_t at) {
    const auto place = static_cast<size_t>(at);
    return place < text.size() && (static_cast<unsigned char>(text[place]) & 0xC0) == 0x80;
  };
  while (inside(begin)) --begin;
  while (inside(end)) ++end;
}

class LikeHuggingFace : public testing::TestWithParam<const char*> {};

TEST_P(LikeHuggingFace, SameIdsSpansAndText) {
  const fs::path folder = golden("tokenizer") / GetParam();
  const Tokenizer tokenizer = Tokenizer::load(folder);
  const json rows = read_json(folder / "expected.json");
  ASSERT_GT(rows.size(), 60u);
  for (const json& row : rows) {
    const auto text = row.at("text").get<std::string>();
    SCOPED_TRACE(text);
    const auto ids = row.at("ids").get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.encode(text), ids);
    std::vector<int32_t> spanned;
    std::vector<std::vector<int64_t>> spans;
    for (TokenSpan token : tokenizer.encode_with_spans(text)) {
      widen(text, token.begin, token.end);
      spanned.push_back(token.id);
      spans.push_back({token.begin, token.end});
    }
    EXPECT_EQ(spanned, ids);
    EXPECT_EQ(spans, row.at("spans").get<std::vector<std::vector<int64_t>>>());
    EXPECT_EQ(tokenizer.decode(ids), row.at("decoded").get<std::string>());
    EXPECT_EQ(tokenizer.decode(ids, true), row.at("plain").get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, LikeHuggingFace,
                         testing::Values("llama3", "gpt2", "qwen2", "smollm", "zephyr", "joined", "metaspace",
                                         "mistral"),
                         [](const auto& row) { return std::string(row.param); });

TEST(Tokenizer, SpecialTokensOfDirectories) {
  const Tokenizer llama3 = Tokenizer::load(golden("tokenizer/llama3"));
  EXPECT_EQ(llama3.bos_id(), 0);
  EXPECT_EQ(llama3.eos_id(), 2);
  EXPECT_TRUE(llama3.adds_bos());
  EXPECT_EQ(llama3.token_text(2), "<|im_end|>");
  const Tokenizer gpt2 = Tokenizer::load(golden("tokenizer/gpt2"));
  EXPECT_EQ(gpt2.bos_id(), -1);
  EXPECT_FALSE(gpt2.adds_bos());
  EXPECT_NE(llama3.sha256(), gpt2.sha256());
  EXPECT_EQ(llama3.sha256(), Tokenizer::load(golden("tokenizer/llama3")).sha256());
}

const Tokenizer& real_model() {
  static const Tokenizer tokenizer = Tokenizer::load(GORGON_TEST_MODEL);
  return tokenizer;
}

TEST(TokenizerOfRealModel, SameIdsAsReference) {
  if (!fs::exists(GORGON_TEST_MODEL)) GTEST_SKIP() << "no model; scripts/fetch_model.sh fetches it";
  EXPECT_EQ(real_model().vocab_size(), 49152);
  EXPECT_EQ(real_model().bos_id(), 1);
  EXPECT_EQ(real_model().eos_id(), 2);
  EXPECT_FALSE(real_model().adds_bos());
  EXPECT_NE(real_model().chat_template().find("SmolLM"), std::string::npos);
  for (const json& row : read_json(golden("reference/tokenize.json"))) {
    const auto text = row.at("text").get<std::string>();
    const auto ids = row.at("ids").get<std::vector<int32_t>>();
    EXPECT_EQ(real_model().encode(text), ids) << text;
  }
}

TEST(TokenizerOfRealModel, SpansOfBytesAddUpAndDecode) {
  if (!fs::exists(GORGON_TEST_MODEL)) GTEST_SKIP() << "no model; scripts/fetch_model.sh fetches it";
  const std::string text = "<|im_start|>user\nnaïve 中文 2024 \u0301x  😀<|im_end|>\n";
  int64_t at = 0;
  for (const TokenSpan& token : real_model().encode_with_spans(text)) {
    EXPECT_EQ(token.begin, at);
    const auto length = static_cast<size_t>(token.end - token.begin);
    EXPECT_EQ(real_model().decode(std::vector{token.id}), text.substr(static_cast<size_t>(at), length));
    at = token.end;
  }
  EXPECT_EQ(at, static_cast<int64_t>(text.size()));
}

TEST(TokenizerOfRealModel, LongWordIsNotQuadratic) {
  if (!fs::exists(GORGON_TEST_MODEL)) GTEST_SKIP() << "no model; scripts/fetch_model.sh fetches it";
  // Two million equal letters: a merge that scans the word for each pair would need hours, past the limit
  // that every test has.
  const std::string text(2'000'000, 'x');
  const std::vector<int32_t> ids = real_model().encode(text);
  EXPECT_EQ(real_model().decode(ids), text);
  EXPECT_LT(ids.size(), text.size() / 3);
}

TEST(TokenizerOfRealModel, SameFromSeveralThreads) {
  if (!fs::exists(GORGON_TEST_MODEL)) GTEST_SKIP() << "no model; scripts/fetch_model.sh fetches it";
  const std::string text = "SELECT name, COUNT(*) FROM head WHERE age > 56 GROUP BY name; it's 3,141 rows.\n";
  const std::vector<int32_t> expected = real_model().encode(text);
  std::vector<std::thread> threads;
  std::vector<int> same(4, 0);
  for (size_t t = 0; t < same.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) same[t] += real_model().encode(text) == expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, std::vector<int>(4, 100));
}

TEST(Tokenizer, InvalidUtf8IsDataErrorWithByte) {
  const Tokenizer tokenizer = Tokenizer::load(golden("tokenizer/gpt2"));
  for (const std::string bad :
       {"abc\xff", "abc\xc3", "abc\xed\xa0\x80", "abc\xc0\x80", "abc\xf4\x90\x80\x80"}) {
    try {
      tokenizer.encode(bad);
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::data);
      EXPECT_NE(std::string(error.what()).find("text@3"), std::string::npos) << error.what();
    }
  }
}

TEST(Tokenizer, DecodeRefusesUnknownIds) {
  const Tokenizer tokenizer = Tokenizer::load(golden("tokenizer/gpt2"));
  for (const int32_t id : {-1, 1 << 20}) EXPECT_THROW(tokenizer.decode(std::vector{id}), Error);
}

}  // namespace
}  // namespace gorgon
