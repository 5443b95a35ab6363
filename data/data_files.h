#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace gorgon {

// The files that a list of paths and globs ("data/*.jsonl") names: in the order given, the matches of a glob
// sorted by name. A path that exists is taken as it is, whatever characters it has. Throws Error(data) for
// one that names nothing or no ordinary file.
std::vector<std::filesystem::path> expand_data_files(const std::vector<std::string>& patterns);

// One line of a JSONL file, without its end.
struct DataLine {
  std::string text;
  std::string file;
  long number = 0;  // from 1
};

// The lines of several files one after the other, read in pieces. "\n" and "\r\n" end a line, blank lines are
// left out, a byte-order mark at the start of a file is skipped, the last line may lack its end. A line may
// have at most 64 MiB. Throws Error(data), also for files that are another kind of file (other_formats.h).
class LineSource {
 public:
  static constexpr int64_t kMaxLineBytes = int64_t{64} << 20;

  explicit LineSource(std::vector<std::filesystem::path> files);
  ~LineSource();
  LineSource(const LineSource&) = delete;
  LineSource& operator=(const LineSource&) = delete;

  bool next(DataLine& line);  // false at the end of the last file

  int64_t bytes_done() const { return bytes_done_; }    // read so far
  int64_t bytes_total() const { return bytes_total_; }  // sizes of all files when they were opened first
  // SHA-256 of what was read, once next() has returned false; equal to data_sha256(files).
  std::string sha256() const;

 private:
  class Reader;
  bool open_next_file();

  std::vector<std::filesystem::path> files_;
  size_t file_ = 0;  // of files_, the next to open
  std::unique_ptr<Reader> reader_;
  int64_t bytes_done_ = 0, bytes_total_ = 0;
  std::string sums_;  // one line for each file that was read
};

// SHA-256 of the list of the files' own SHA-256 sums (a line of hexadecimal digits for each, in order): names
// and places do not enter.
std::string data_sha256(const std::vector<std::filesystem::path>& files);

}  // namespace gorgon
