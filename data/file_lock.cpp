#include "data/file_lock.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/file.h"
#include "kernels/error.h"

namespace gorgon {

namespace {

std::string own_text() {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  return "process " + std::to_string(::getpid()) + " on " + host;
}

// Opens and locks `path`; -1 when another process holds it. The file may be removed by its last owner between
// the two calls: then what was locked is no longer what lies there, and it is tried again.
int open_locked(const std::filesystem::path& path) {
  for (;;) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0) {
      fail(ExitCode::resource, {path.parent_path().string(), "", "a directory that can be written",
                                std::strerror(errno), "choose another place"});
    }
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      ::close(descriptor);
      return -1;
    }
    struct stat locked = {}, there = {};
    if (::fstat(descriptor, &locked) == 0 && ::stat(path.c_str(), &there) == 0 &&
        locked.st_ino == there.st_ino) {
      return descriptor;
    }
    ::close(descriptor);
  }
}

}  // namespace

std::optional<FileLock> FileLock::try_take(const std::filesystem::path& path) {
  const int descriptor = open_locked(path);
  if (descriptor < 0) return std::nullopt;
  FileLock lock(path, descriptor);
  const std::string owner = own_text();
  std::filesystem::resize_file(path, 0);  // a killed owner's text
  write_all(descriptor, owner.data(), owner.size(), path);
  return lock;
}

std::string FileLock::holder(const std::filesystem::path& path) {
  const std::string text = read_text(path, ExitCode::resource);
  const bool is_line =
      text.size() < 400 && std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (!is_line) return quote_value(text);  // not what try_take writes
  return text.empty() ? "another process" : text;
}

FileLock::FileLock(std::filesystem::path path, int descriptor)
    : path_(std::move(path)), descriptor_(descriptor) {}

FileLock::FileLock(FileLock&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileLock::~FileLock() {
  if (descriptor_ < 0) return;
  ::unlink(path_.c_str());
  ::close(descriptor_);
}

}  // namespace gorgon
