#include "data/dataset_file.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <span>

#include "data/file.h"
#include "data/hdf5_file.h"
#include "kernels/error.h"

namespace gorgon {

namespace {

namespace fs = std::filesystem;

constexpr size_t kUserBlock = 512;
constexpr std::string_view kMark = "gorgon dataset 1\n";
constexpr const char* kRemedy = "remove the file and prepare it again: gorgon prepare CONFIG";

[[noreturn]] void bad_file(const fs::path& path, const std::string& key, const std::string& expected,
                           const std::string& found) {
  fail(ExitCode::data,
       {.place = path.string(), .key = key, .expected = expected, .found = found, .remedy = kRemedy});
}

// The text of the user block for the bytes behind it.
std::string seal(uint64_t bytes, const std::string& sha256) {
  return std::string(kMark) + "bytes " + std::to_string(bytes) + "\nsha256 " + sha256 + "\ncomplete\n";
}

// Checks the user block against the bytes behind it.
void check_seal(const fs::path& path) {
  const MappedFile file(path, ExitCode::data);
  const auto bytes = file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              std::min(bytes.size(), kUserBlock));
  if (!text.starts_with(kMark)) {
    const bool blank = std::all_of(text.begin(), text.end(), [](char c) { return c == '\0'; });
    bad_file(path, "", "a data set of gorgon",
             blank ? "an incomplete file" : "a file that starts with " + quote_value(text.substr(0, 16)));
  }
  const std::string_view block = text.substr(0, text.find('\0'));
  if (bytes.size() < kUserBlock || !block.ends_with("\ncomplete\n")) {
    bad_file(path, "", "a complete file", "an incomplete one of " + std::to_string(bytes.size()) + " bytes");
  }
  const auto contents = bytes.subspan(kUserBlock);
  const size_t at = block.find("bytes ") + 6;
  const std::string promised(block.substr(at, block.find('\n', at) - at));
  if (promised != std::to_string(contents.size())) {
    bad_file(path, "", "a complete file of " + quote_value(promised) + " bytes behind its first 512",
             "an incomplete one of " + std::to_string(contents.size()));
  }
  Sha256 sum;
  sum.update(contents);
  const std::string found = sum.hex();
  if (text !=
      seal(contents.size(), found) + std::string(kUserBlock - seal(contents.size(), found).size(), '\0')) {
    bad_file(path, "sha256", quote_value(block.substr(std::min(block.find("sha256 ") + 7, block.size()), 64)),
             found);
  }
}

void check_contents(const fs::path& path, const Dataset& dataset) {
  const size_t n = dataset.tokens.size();
  if (dataset.labels.size() != n || dataset.segments.size() != n) {
    bad_file(path, "/labels, /segments", std::to_string(n) + " values as in /tokens",
             std::to_string(dataset.labels.size()) + " and " + std::to_string(dataset.segments.size()));
  }
  const auto& offsets = dataset.offsets;
  const bool ascending =
      std::adjacent_find(offsets.begin(), offsets.end(), std::greater_equal<>()) == offsets.end();
  if (offsets.size() < 2 || offsets.front() != 0 || offsets.back() != static_cast<int64_t>(n) || !ascending) {
    bad_file(path, "/offsets", "ascending from 0 to " + std::to_string(n), "others");
  }
  for (size_t i = 0; i < n; ++i) {
    const bool good = dataset.tokens[i] >= 0 && dataset.segments[i] >= 0 &&
                      (dataset.labels[i] == -100 || dataset.labels[i] == dataset.tokens[i]);
    if (!good) bad_file(path, "/labels", "the token itself or -100", "another value at " + std::to_string(i));
  }
}

}  // namespace

bool is_dataset_file(const fs::path& path) {
  std::array<char, kMark.size()> start{};
  std::ifstream(path, std::ios::binary).read(start.data(), start.size());
  return std::string_view(start.data(), start.size()) == kMark;
}

void write_dataset(const fs::path& path, const Dataset& dataset) {
  const auto array = [](const char* name, DType type, const auto& values) {
    return hdf5::Array{name, type, {std::ssize(values)}, values.data()};
  };
  const std::vector<std::byte> contents = hdf5::file_image(
      path, kUserBlock, dataset.attributes,
      {array("tokens", DType::i32, dataset.tokens), array("labels", DType::i32, dataset.labels),
       array("segments", DType::i32, dataset.segments), array("offsets", DType::i64, dataset.offsets)});
  Sha256 sum;
  sum.update(contents);
  std::string block = seal(contents.size(), sum.hex());
  block.resize(kUserBlock, '\0');
  write_atomically(path, [&](int descriptor) {
    write_all(descriptor, block.data(), block.size(), path);
    write_all(descriptor, contents.data(), contents.size(), path);
  });
}

Dataset read_dataset(const fs::path& path) {
  check_seal(path);
  const hdf5::File file(path, kRemedy);
  Dataset dataset;
  dataset.tokens = file.i32("tokens");
  dataset.labels = file.i32("labels");
  dataset.segments = file.i32("segments");
  dataset.offsets = file.i64("offsets");
  dataset.attributes = file.attributes();
  check_contents(path, dataset);
  return dataset;
}

}  // namespace gorgon
