#include <variant>

#include "data/cache_block.h"
#include "data/conversations.h"
#include "data/data_files.h"
#include "data/dataset_file.h"
#include "data/state_cache.h"
#include "tests/data/temporary_directory.h"
#include "tests/fuzz/oracle.h"
#include "tests/fuzz/targets.h"

namespace gorgon {
namespace {

constexpr int64_t kVocabulary = 1000;

void check_row(const Row& row) {
  const auto* tokens = std::get_if<TokenRow>(&row);
  if (tokens == nullptr) return;
  check(tokens->tokens.size() == tokens->labels.size(), "labels are not as many as tokens");
  for (size_t i = 0; i < tokens->tokens.size(); ++i) {
    const int32_t id = tokens->tokens[i], label = tokens->labels[i];
    check(id >= 0 && id < kVocabulary && (label == id || label == -100), "a token out of range");
  }
}

void check_cache(const std::filesystem::path& path) {
  accept_errors({ExitCode::data}, [&] {
    const CacheReader cache(path);
    std::vector<std::byte> row(static_cast<size_t>(cache.layout().row_bytes()));
    for (int64_t i = 0; i < cache.layout().states(); ++i) cache.read(i, 1, row.data());
    check(std::ssize(cache.ids()) == cache.layout().states(), "ids are not as many as states");
  });
}

}  // namespace

void fuzz_jsonl(std::span<const std::byte> bytes) {
  static const TemporaryDirectory folder;
  const auto path = folder.write("rows.jsonl", text_of(bytes));
  accept_errors({ExitCode::data}, [&] {  // the whole, for files that are another kind of file
    LineSource lines({path});
    DataLine line;
    long before = 0;
    while (lines.next(line)) {
      check(line.number > before, "line numbers do not ascend");
      before = line.number;
      accept_errors({ExitCode::data}, [&] { check_row(parse_row(line, kVocabulary)); });
    }
    check(lines.bytes_done() == static_cast<int64_t>(bytes.size()), "bytes were left out");
    check(lines.sha256() == data_sha256({path}), "the sum is not that of the file");
  });
}

void fuzz_dataset_file(std::span<const std::byte> bytes) {
  static const TemporaryDirectory folder;
  const auto path = folder.write("dataset.h5", text_of(bytes));
  accept_errors({ExitCode::data}, [&] {
    const Dataset read = read_dataset(path);
    const auto again = folder.path() / "again.h5";
    write_dataset(again, read);
    const Dataset back = read_dataset(again);
    check(back.tokens == read.tokens && back.labels == read.labels && back.segments == read.segments &&
              back.offsets == read.offsets && back.attributes == read.attributes,
          "a data set differs after writing and reading");
  });
}

void fuzz_state_cache(std::span<const std::byte> bytes) {
  static const TemporaryDirectory folder;
  const std::string text = text_of(bytes);
  check_cache(folder.write("cache.h5", text));
  accept_errors({ExitCode::data}, [&] {
    CacheBlock block = parse_cache_block(text, "input");
    block.complete = true;
    const std::string sealed = format_cache_block(block);
    check(format_cache_block(parse_cache_block(sealed, "again")) == sealed,
          "a block differs after writing and reading");
    check_cache(folder.write("cache.h5", sealed + text.substr(std::min(text.size(), sealed.size()))));
  });
}

}  // namespace gorgon
