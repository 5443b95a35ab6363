#include "data/data_files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

#include "data/file.h"
#include "data/hub_name.h"
#include "data/other_formats.h"
#include "kernels/error.h"

namespace gorgon {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

[[noreturn]] void missing(const std::string& pattern) {
  fail(
      ExitCode::data,
      {.place = pattern,
       .key = "",
       .expected = "a JSONL file",
       .found = "none",
       .remedy = looks_like_hub_name(pattern) && pattern.find('.') == std::string::npos
                     ? "if it is a data set of the Hugging Face hub, fetch it first: hf download --repo-type "
                       "dataset " +
                           pattern + " --local-dir " + pattern
                     : "check the path (relative to " + fs::current_path().string() + ")"});
}

void check_ordinary(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return;
  fail(ExitCode::data, {.place = path.string(),
                        .key = "",
                        .expected = "an ordinary file",
                        .found = fs::is_directory(path, error) ? "a folder" : "another kind of file",
                        .remedy = "name the files in it, for example " + (path / "*.jsonl").string()});
}

std::vector<fs::path> matches_of(const std::string& pattern) {
  glob_t found{};
  const int status = glob(pattern.c_str(), GLOB_ERR, nullptr, &found);
  std::vector<fs::path> paths;
  for (size_t i = 0; status == 0 && i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
  globfree(&found);
  return paths;
}

}  // namespace

std::vector<fs::path> expand_data_files(const std::vector<std::string>& patterns) {
  std::vector<fs::path> files;
  for (const std::string& pattern : patterns) {
    std::error_code error;
    std::vector<fs::path> found = {pattern};
    if (pattern.empty() || !fs::exists(pattern, error)) found = matches_of(pattern);
    if (found.empty()) missing(pattern);
    for (fs::path& path : found) {
      check_ordinary(path);
      files.push_back(std::move(path));
    }
  }
  return files;
}

// One file, read in pieces of 1 MiB.
class LineSource::Reader {
 public:
  explicit Reader(const fs::path& path)
      : name_(path.string()), descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) broken("to open it");
  }
  ~Reader() { close(descriptor_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // The next line, blank or not; false at the end of the file.
  bool next(DataLine& line) {
    line.text.clear();
    line.file = name_;
    line.number = ++number_;
    bool any = false;
    for (;;) {
      if (begin_ == end_ && !fill()) break;
      any = true;
      const std::string_view rest(buffer_.data() + begin_, end_ - begin_);
      const size_t newline = rest.find('\n');
      line.text.append(rest.substr(0, newline));
      begin_ += std::min(newline, rest.size() - 1) + 1;
      if (static_cast<int64_t>(line.text.size()) > kMaxLineBytes) too_long();
      if (newline != std::string_view::npos) break;
    }
    if (line.text.ends_with('\r')) line.text.pop_back();
    if (number_ == 1 && line.text.starts_with(kByteOrderMark)) line.text.erase(0, kByteOrderMark.size());
    return any;
  }

  int64_t bytes_read() const { return bytes_read_; }
  std::string sha256() { return sum_.hex(); }

 private:
  bool fill() {
    ssize_t got;
    do got = read(descriptor_, buffer_.data(), buffer_.size());
    while (got < 0 && errno == EINTR);
    if (got < 0) broken("to read it");
    begin_ = 0;
    end_ = static_cast<size_t>(got);
    if (bytes_read_ == 0) refuse_other_formats(name_, std::string_view(buffer_).substr(0, end_));
    bytes_read_ += got;
    sum_.update(std::string_view(buffer_).substr(0, end_));
    return got > 0;
  }

  [[noreturn]] void broken(const char* expected) const {
    fail(ExitCode::data,
         {.place = name_, .key = "", .expected = expected, .found = std::strerror(errno), .remedy = ""});
  }

  [[noreturn]] void too_long() const {
    fail(ExitCode::data, {.place = at_line(name_, number_),
                          .key = "",
                          .expected = "at most " + std::to_string(kMaxLineBytes) + " bytes in a line",
                          .found = "more",
                          .remedy = "write one row a line (JSONL)"});
  }

  std::string name_;
  int descriptor_;
  std::string buffer_ = std::string(size_t{1} << 20, '\0');
  size_t begin_ = 0, end_ = 0;  // of buffer_, not yet handed out
  long number_ = 0;
  int64_t bytes_read_ = 0;
  Sha256 sum_;
};

LineSource::LineSource(std::vector<fs::path> files) : files_(std::move(files)) {
  for (const fs::path& file : files_) {
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (!error) bytes_total_ += static_cast<int64_t>(size);
  }
}

LineSource::~LineSource() = default;

bool LineSource::open_next_file() {
  if (file_ == files_.size()) return false;
  reader_ = std::make_unique<Reader>(files_[file_++]);
  return true;
}

bool LineSource::next(DataLine& line) {
  for (;;) {
    if (!reader_ && !open_next_file()) return false;
    const int64_t before = reader_->bytes_read();
    const bool got = reader_->next(line);
    bytes_done_ += reader_->bytes_read() - before;
    if (!got) {
      sums_ += reader_->sha256() + "\n";
      reader_.reset();
    } else if (line.text.find_first_not_of(" \t") != std::string::npos) {
      return true;
    }
  }
}

std::string LineSource::sha256() const {
  require(!reader_ && file_ == files_.size(), "LineSource::sha256", "not all was read");
  return sha256_of(sums_);
}

std::string data_sha256(const std::vector<fs::path>& files) {
  std::string sums;
  for (const fs::path& file : files) sums += sha256_of_file(file, ExitCode::data) + "\n";
  return sha256_of(sums);
}

}  // namespace gorgon
