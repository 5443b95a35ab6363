#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "kernels/error.h"

namespace gorgon {

// A whole file, read-only, mapped into memory. Errors carry `code` and the full path. A file that another
// program shortens while it is mapped ends the process with one line naming it and ExitCode::resource, where
// the kernel would kill it by SIGBUS.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(const std::filesystem::path& path, ExitCode code);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

// A whole file; one above max_bytes is an error that names both sizes.
std::string read_text(const std::filesystem::path& path, ExitCode code, size_t max_bytes = SIZE_MAX);

// Writes a file so that it appears under its name complete or not at all: temporary in the same folder,
// write, fsync, rename, fsync of the folder. Throws Error(resource) (disk full: bytes needed and free) and
// removes the temporary.
void write_atomically(const std::filesystem::path& path, const std::function<void(int descriptor)>& write);
void write_atomically(const std::filesystem::path& path, std::string_view text);
// write(2) until all is written; Error(resource) with errno's meaning otherwise.
void write_all(int descriptor, const void* data, size_t bytes, const std::filesystem::path& path);
void sync_directory(const std::filesystem::path& directory);

// SHA-256 in hexadecimal (OpenSSL's).
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  std::string hex();  // ends the sum

 private:
  void* context_;
};
std::string sha256_of_file(const std::filesystem::path& path, ExitCode code);
std::string sha256_of(std::string_view text);

}  // namespace gorgon
