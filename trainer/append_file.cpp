#include "trainer/append_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/file.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

[[noreturn]] void io_error(const std::filesystem::path& path, const char* what) {
  fail(ExitCode::resource, {path.string(), "", std::string("to ") + what + " it", std::strerror(errno), ""});
}

}  // namespace

AppendFile::AppendFile(const std::filesystem::path& path, int64_t keep_bytes) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) io_error(path, "open");
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0) io_error(path, "read the size of");
  bytes_ = std::min<int64_t>(status.st_size, keep_bytes);
  if (::ftruncate(descriptor_, bytes_) != 0) io_error(path, "shorten");
  if (::lseek(descriptor_, bytes_, SEEK_SET) < 0) io_error(path, "write at the end of");
}

AppendFile::~AppendFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

AppendFile::AppendFile(AppendFile&& other) noexcept {
  *this = std::move(other);
}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void AppendFile::append(std::string_view bytes) {
  write_all(descriptor_, bytes.data(), bytes.size(), path_);
  bytes_ += static_cast<int64_t>(bytes.size());
}

void AppendFile::sync() {
  if (::fsync(descriptor_) != 0) io_error(path_, "sync");
}

}  // namespace gorgon
