#include "data/data_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/file.h"
#include "tests/data/expect_error.h"
#include "tests/data/temporary_directory.h"

namespace gorgon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::vector<std::pair<long, std::string>> lines_of(const std::filesystem::path& path) {
  LineSource source({path});
  std::vector<std::pair<long, std::string>> lines;
  DataLine line;
  while (source.next(line)) lines.emplace_back(line.number, line.text);
  EXPECT_EQ(source.bytes_done(), source.bytes_total());
  EXPECT_EQ(source.sha256(), data_sha256({path}));
  return lines;
}

TEST(LineSource, EndsOfLines) {
  const TemporaryDirectory folder;
  EXPECT_THAT(lines_of(folder.write("a", "one\ntwo\r\n\n \t\nfive")),
              ElementsAre(Pair(1, "one"), Pair(2, "two"), Pair(5, "five")));
  EXPECT_THAT(lines_of(folder.write("b", "\xEF\xBB\xBFone\n\xEF\xBB\xBF\n")),
              ElementsAre(Pair(1, "one"), Pair(2, "\xEF\xBB\xBF")));
  EXPECT_THAT(lines_of(folder.write("c", "")), ElementsAre());
  EXPECT_THAT(lines_of(folder.write("d", "\n\n")), ElementsAre());
  EXPECT_THAT(lines_of(folder.write("e", std::string("a\0b\n", 4))),
              ElementsAre(Pair(1, std::string("a\0b", 3))));
}

// Lines that end on, before and behind the borders of the pieces of 1 MiB in which a file is read.
TEST(LineSource, LinesAcrossPieces) {
  const TemporaryDirectory folder;
  constexpr size_t kPiece = size_t{1} << 20;
  for (const size_t length : {kPiece - 2, kPiece - 1, kPiece, kPiece + 1, 3 * kPiece - 1}) {
    const std::string first(length, 'x');
    const auto path = folder.write("a", first + "\nsecond\r\n");
    EXPECT_THAT(lines_of(path), ElementsAre(Pair(1, first), Pair(2, "second"))) << length;
  }
}

TEST(LineSource, SeveralFilesOneAfterTheOther) {
  const TemporaryDirectory folder;
  const auto a = folder.write("a.jsonl", "1\n2"), b = folder.write("b.jsonl", "3\n");
  LineSource source({b, a});
  DataLine line;
  std::string all;
  while (source.next(line))
    all += line.file.back() == 'l' ? line.text + "@" + std::to_string(line.number) + " " : "?";
  EXPECT_EQ(all, "3@1 1@1 2@2 ");
  EXPECT_EQ(source.sha256(), data_sha256({b, a}));
  EXPECT_NE(source.sha256(), data_sha256({a, b}));
  EXPECT_EQ(data_sha256({a}), sha256_of(sha256_of("1\n2") + "\n"));
}

TEST(LineSource, ALineHasABound) {
  const TemporaryDirectory folder;
  const auto path = folder.write("a.jsonl", "{}\n" + std::string(LineSource::kMaxLineBytes + 1, 'x'));
  const std::string error = error_of(ExitCode::data, [&] { lines_of(path); });
  EXPECT_THAT(error, HasSubstr("a.jsonl:2: expected at most 67108864 bytes in a line"));
}

TEST(LineSource, OtherKindsOfFilesAreNamedWithTheirConversion) {
  const TemporaryDirectory folder;
  const std::vector<std::pair<std::string, std::vector<std::string>>> rows = {
      {"GGUF\3", {"a GGUF model", "model_path"}},
      {"gorgon dataset 1\n", {"gorgon prepared", "--dataset"}},
      {"\x89HDF\r\n\x1a\n", {"an HDF5 file"}},
      {"PAR1\x15", {"a Parquet file", "read_parquet('", "a.jsonl.jsonl'"}},
      {"\x1f\x8b\x08", {"a gzip file", "gunzip "}},
      {"PK\x03\x04", {"a zip archive"}},
      {"\n[{\"text\": \"a\"}]", {"a JSON list", "jq -c '.[]'"}},
      {"{\r\n  \"text\": \"a\"\n}", {"JSON over several lines", "jq -c ."}},
      {"prompt,answer\n1,2\n", {"a table (CSV)", "'prompt,answer'", "csv.DictReader"}},
      {"prompt\tanswer\n1\t2\n", {"a table (CSV)", "delimiter='\\t'"}}};
  for (const auto& [begin, says] : rows) {
    const auto path = folder.write("a.jsonl", begin);
    const std::string error = error_of(ExitCode::data, [&] { lines_of(path); });
    EXPECT_THAT(error, HasSubstr("a.jsonl: expected JSONL (one JSON object a line), found "));
    for (const std::string& part : says) EXPECT_THAT(error, HasSubstr(part)) << begin;
  }
  // Damaged JSONL is for the parser to place.
  for (const std::string begin : {"{\"text\": \"a, b\"", "oops {\"a\": 1, \"b\": 2}", "12"}) {
    EXPECT_THAT(lines_of(folder.write("a.jsonl", begin)), testing::SizeIs(1));
  }
}

TEST(ExpandDataFiles, PathsListsAndGlobs) {
  const TemporaryDirectory folder;
  const auto a = folder.write("a.jsonl", ""), b = folder.write("b.jsonl", ""),
             odd = folder.write("c[1].jsonl", "");
  const std::string glob = (folder.path() / "*.jsonl").string();
  EXPECT_THAT(expand_data_files({glob}), ElementsAre(a, b, odd));
  EXPECT_THAT(expand_data_files({b.string(), glob}), ElementsAre(b, a, b, odd));
  EXPECT_THAT(expand_data_files({odd.string()}), ElementsAre(odd));
  EXPECT_THAT(expand_data_files({(folder.path() / "?.jsonl").string()}), ElementsAre(a, b));
}

TEST(ExpandDataFiles, NamesWhatIsMissing) {
  const TemporaryDirectory folder;
  const auto error = [](const std::string& pattern) {
    return error_of(ExitCode::data, [&] { expand_data_files({pattern}); });
  };
  EXPECT_THAT(error((folder.path() / "no.jsonl").string()),
              HasSubstr("no.jsonl: expected a JSONL file, found none"));
  EXPECT_THAT(error((folder.path() / "*.json").string()),
              HasSubstr("*.json: expected a JSONL file, found none"));
  EXPECT_THAT(error(folder.path().string()), HasSubstr("expected an ordinary file, found a folder"));
  EXPECT_THAT(error("someone/some-data"), HasSubstr("hf download --repo-type dataset someone/some-data"));
  EXPECT_THAT(error(""), HasSubstr("expected a JSONL file, found none"));
}

}  // namespace
}  // namespace gorgon
