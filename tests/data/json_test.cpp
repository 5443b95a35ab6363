#include "data/json.h"

#include <gtest/gtest.h>

#include "tests/data/expect_error.h"

namespace gorgon {
namespace {

const JsonOptions kFile{.file = "f.json", .code = ExitCode::model};
const JsonOptions kLine{.file = "f.jsonl", .line = 7, .code = ExitCode::data};

TEST(Json, KeepsValuesAndOrderOfArrays) {
  const Json json = parse_json(
      R"( {"a": [1, -2, 2.5, "x\u00e9", true, null, [], {}], "b": {"c": 18446744073709551615}} )", kFile);
  EXPECT_EQ(json, Json::parse(R"({"a":[1,-2,2.5,"xé",true,null,[],{}],"b":{"c":18446744073709551615}})"));
  EXPECT_EQ(parse_json("3", kFile), 3);
}

TEST(Json, ErrorsNamePlaceOfTheFault) {
  struct Case {
    std::string text, file_place, line_place, found;
  };
  const std::vector<Case> cases = {
      {"", "f.json@0", "f.jsonl:7:1", "the end of the text"},
      {R"({"a": 1)", "f.json@7", "f.jsonl:7:8", "the end of the text"},
      {R"({"a": tru})", "f.json@9", "f.jsonl:7:10", "tru}"},
      {R"({"a": 1} x)", "f.json@9", "f.jsonl:7:10", "x"},
      {R"({"a": 01})", "f.json@7", "f.jsonl:7:8", "1"},
      {"[1,]", "f.json@3", "f.jsonl:7:4", "]"},
      {"[\"\xff\"]", "f.json@2", "f.jsonl:7:3", "xff"},
      {R"(["\ud800"])", "f.json@8", "f.jsonl:7:9", "ud800"},
      {"[\"a\nb\"]", "f.json@3", "f.jsonl:7:4", ""},
      {std::string("{}\0{}", 5), "f.json@2", "f.jsonl:7:3", "NUL"},
      {"[1e999]", "f.json@", "f.jsonl:7:", "1e999"},
      {"[NaN]", "f.json@1", "f.jsonl:7:2", "N"},
      {"{'a': 1}", "f.json@1", "f.jsonl:7:2", ""},
      {"// x\n1", "f.json@0", "f.jsonl:7:1", ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.text);
    expect_error([&] { parse_json(c.text, kFile); }, ExitCode::model, {c.file_place, c.found});
    expect_error([&] { parse_json(c.text, kLine); }, ExitCode::data, {c.line_place, c.found});
  }
}

TEST(Json, PlaceCountsFromTheBaseWithinAFile) {
  JsonOptions options = kFile;
  options.base = 8;
  expect_error([&] { parse_json("[1,]", options); }, ExitCode::model, {"f.json@11"});
}

TEST(Json, DepthIsBoundedWhileParsing) {
  const auto nested = [](int n) {
    return std::string(static_cast<size_t>(n), '[') + std::string(static_cast<size_t>(n), ']');
  };
  EXPECT_NO_THROW(parse_json(nested(64), kFile));
  expect_error([&] { parse_json(nested(65), kFile); }, ExitCode::model, {"f.json@", "at most 64 levels"});
  std::string objects;
  for (int i = 0; i < 200000; ++i) objects += R"({"a":)";
  expect_error([&] { parse_json(objects, kFile); }, ExitCode::model, {"at most 64 levels"});
  expect_error([&] { parse_json(std::string(1000000, '['), kFile); }, ExitCode::model, {"at most 64 levels"});
}

TEST(Json, DuplicateKeysAreFoundWhereAskedFor) {
  const std::string text = R"({"a": {"b": 1, "b": 2}})";
  EXPECT_EQ(parse_json(text, kFile)["a"]["b"], 2);
  JsonOptions strict = kFile;
  strict.reject_duplicate_keys = true;
  expect_error([&] { parse_json(text, strict); }, ExitCode::model, {"f.json@1", "'b'", "duplicate"});
  EXPECT_NO_THROW(parse_json(R"([{"a": 1}, {"a": 1}])", strict));
}

TEST(Json, ValuesAreBoundedWhileParsing) {
  JsonOptions options = kFile;
  options.max_values = 4;
  EXPECT_NO_THROW(parse_json(R"({"a": [1, 2]})", options));
  expect_error([&] { parse_json(R"({"a": [1, 2, 3]})", options); }, ExitCode::model,
               {"f.json@", "at most 4 values"});
}

TEST(Json, TypedAccessRefusesOtherTypesAndRanges) {
  const Json json = parse_json(
      R"({"i": 5, "n": -1, "f": 1.5, "w": 3.0, "s": "x", "b": true, "huge": 18446744073709551615, "o": {}, "null": null})",
      kFile);
  EXPECT_EQ(json_int(json, "i", 0, 5, kFile), 5);
  EXPECT_EQ(json_int(json, "n", -1, 5, kFile), -1);
  EXPECT_EQ(json_number(json, "f", kFile), 1.5);
  EXPECT_EQ(json_number(json, "i", kFile), 5.0);
  EXPECT_EQ(json_string(json, "s", kFile), "x");
  const auto bad_int = [&](const char* key, const std::string& found) {
    expect_error([&] { json_int(json, key, 0, 4, kFile); }, ExitCode::model,
                 {"f.json", key, "from 0 to 4", found});
  };
  bad_int("i", "5");
  bad_int("n", "-1");
  bad_int("f", "1.5");
  bad_int("w", "3.0");
  bad_int("s", "x");
  bad_int("b", "true");
  bad_int("huge", "18446744073709551615");
  bad_int("o", "object");
  bad_int("null", "null");
  bad_int("absent", "no such key");
  expect_error([&] { json_number(json, "s", kFile); }, ExitCode::model, {"s", "a number", "x"});
  expect_error([&] { json_string(json, "i", kFile); }, ExitCode::model, {"i", "a string", "5"});
  expect_error([&] { json_string(json.at("s"), "i", kLine); }, ExitCode::data, {"f.jsonl:7", "i", "string"});
}

}  // namespace
}  // namespace gorgon
