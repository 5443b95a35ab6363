#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace gorgon {

// A file that only grows, but for what a resumed run takes back: opening keeps the first `keep_bytes` and
// drops what lies behind them, so that a step that is repeated is there once. Errors are Error(resource).
class AppendFile {
 public:
  AppendFile() = default;
  AppendFile(const std::filesystem::path& path, int64_t keep_bytes);
  ~AppendFile();
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&& other) noexcept;

  void append(std::string_view bytes);  // one write: a reader sees whole records but for a crash inside it
  void sync();                          // on disk when it returns
  int64_t bytes() const { return bytes_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t bytes_ = 0;
};

}  // namespace gorgon
