#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace gorgon {

// A file that at most one process holds. The kernel lets go of it when the process ends, however it ends; an
// orderly end removes the file too.
class FileLock {
 public:
  // The lock, or nothing where another process holds it. Throws Error(resource) where the file cannot be
  // made.
  static std::optional<FileLock> try_take(const std::filesystem::path& path);
  // Who holds it: "process 123 on host"; valid when try_take gave nothing.
  static std::string holder(const std::filesystem::path& path);
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;

 private:
  FileLock(std::filesystem::path path, int descriptor);
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace gorgon
