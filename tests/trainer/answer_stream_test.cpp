#include "trainer/answer_stream.h"

#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/unicode.h"
#include "trainer/prompts.h"

namespace gorgon {
namespace {

using nlohmann::json;

// Texts of tests/oracle/tokenizers_golden.py, with spaces in front, between and behind, and characters of
// many bytes.
class AnswerStreamTest : public testing::TestWithParam<const char*> {
 protected:
  std::string folder() const { return std::string(GORGON_TEST_DATA) + "/tokenizer/" + GetParam(); }
  std::vector<std::vector<int32_t>> answers() const {
    std::ifstream file(folder() + "/expected.json");
    std::vector<std::vector<int32_t>> ids;
    for (const json& row : json::parse(file)) ids.push_back(row.at("ids"));
    return ids;
  }
};

TEST_P(AnswerStreamTest, JoinedPiecesAreTheAnswer) {
  const Tokenizer tokenizer = Tokenizer::load(folder());
  int spaces = 0;
  for (const std::vector<int32_t>& ids : answers()) {
    const std::string whole = answer_text(tokenizer, ids);
    spaces += whole.find(' ') == std::string::npos ? 0 : 1;
    for (const size_t step : {size_t{1}, size_t{2}, size_t{3}, size_t{100}}) {
      AnswerStream stream(tokenizer);
      std::string joined;
      for (size_t at = 0; at < ids.size(); at += step) {
        const std::string piece = stream.put(std::span(ids).subspan(at, std::min(step, ids.size() - at)));
        EXPECT_FALSE(find_invalid_utf8(piece)) << "a character was cut";
        joined += piece;
        joined += stream.put({});
      }
      joined += stream.end();
      EXPECT_EQ(joined, whole) << step;
    }
  }
  EXPECT_GT(spaces, 10);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, AnswerStreamTest, testing::Values("metaspace", "mistral", "smollm"),
                         [](const auto& row) { return std::string(row.param); });

TEST(AnswerStream, GivesTheBytesOfAnUnfinishedCharacterAtTheEnd) {
  const Tokenizer tokenizer = Tokenizer::load(std::string(GORGON_TEST_DATA) + "/tokenizer/smollm");
  const std::vector<int32_t> ids = tokenizer.encode("\U0001F980");
  ASSERT_GT(ids.size(), 1u) << "a token of its own: choose another character";
  AnswerStream stream(tokenizer);
  EXPECT_EQ(stream.put(std::span(ids).first(1)), "");
  EXPECT_EQ(stream.end(), tokenizer.decode(std::span(ids).first(1)));
}

TEST(AnswerStream, BadBytesAreReplacedInWhatIsKept) {
  EXPECT_EQ(replace_invalid_utf8(""), "");
  EXPECT_EQ(replace_invalid_utf8("na\xc3\xafve \xf0\x9f\xa6\x80"), "na\xc3\xafve \xf0\x9f\xa6\x80");
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(replace_invalid_utf8("a\xff"
                                 "b\xc3"),
            "a" + bad + "b" + bad);
  EXPECT_EQ(replace_invalid_utf8("end \xf0\x9f\xa6"), "end " + bad + bad + bad);
}

}  // namespace
}  // namespace gorgon
