#include "data/other_formats.h"

#include <array>

#include "kernels/error.h"

namespace gorgon {

namespace {

using std::string_view_literals::operator""sv;

// A kind of file that its first bytes tell. FILE in the remedy stands for its name.
struct Format {
  std::string_view magic;
  const char* name;
  const char* remedy;
};

constexpr const char* kPandas =
    "convert it: python3 -c \"import pandas; pandas.read_parquet('FILE').to_json('FILE.jsonl', "
    "orient='records', "
    "lines=True)\"";

constexpr std::array kFormats = {
    Format{"GGUF"sv, "a GGUF model", "name it by model_path; this key wants JSONL"},
    Format{"gorgon dataset"sv, "a data set that gorgon prepared", "give it by --dataset"},
    Format{"\x89HDF\r\n"sv, "an HDF5 file", "write its rows as JSONL"},
    Format{"PAR1"sv, "a Parquet file", kPandas},
    Format{"ARROW1"sv, "an Arrow file",
           "convert it: python3 -c \"import pandas; pandas.read_feather('FILE').to_json('FILE.jsonl', "
           "orient='records', lines=True)\""},
    Format{"\x1f\x8b"sv, "a gzip file", "unpack it: gunzip FILE"},
    Format{"\x28\xb5\x2f\xfd"sv, "a zstd file", "unpack it: zstd -d FILE"},
    Format{"PK\x03\x04"sv, "a zip archive", "unpack it: unzip FILE"},
};

[[noreturn]] void refuse(const std::string& file, const std::string& name, std::string remedy) {
  constexpr std::string_view kMark = "FILE";
  for (size_t at = remedy.find(kMark); at != std::string::npos; at = remedy.find(kMark, at + file.size())) {
    remedy.replace(at, kMark.size(), file);
  }
  fail(ExitCode::data, {.place = file,
                        .key = "",
                        .expected = "JSONL (one JSON object a line)",
                        .found = name,
                        .remedy = std::move(remedy)});
}

}  // namespace

void refuse_other_formats(const std::string& file, std::string_view begin) {
  for (const Format& format : kFormats) {
    if (begin.starts_with(format.magic)) refuse(file, format.name, format.remedy);
  }
  const size_t first = begin.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return;
  const std::string_view line = begin.substr(first, begin.substr(first).find_first_of("\r\n"));
  if (line.front() == '[') {
    refuse(file, "a JSON list", "convert it: jq -c '.[]' FILE > FILE.jsonl");
  }
  if (line == "{") {
    refuse(file, "JSON over several lines", "convert it: jq -c . FILE > FILE.jsonl");
  }
  const bool has_json = line.find_first_of("{}[]") != std::string_view::npos;
  const bool is_text = line.find('\0') == std::string_view::npos;
  if (!has_json && is_text && line.find_first_of(",;\t") != std::string_view::npos) {
    const char* separator = line.find('\t') != std::string_view::npos ? ", delimiter='\\t'" : "";
    refuse(file, "a table (CSV), first line " + quote_value(line),
           "convert it: python3 -c \"import csv, json; [print(json.dumps(row)) for row in "
           "csv.DictReader(open('FILE')" +
               std::string(separator) + ")]\" > FILE.jsonl, and name its columns by the key columns");
  }
}

}  // namespace gorgon
