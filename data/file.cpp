#include "data/file.h"

#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "data/mapping_guard.h"

namespace gorgon {

namespace {

// Closes a descriptor at the end of a scope.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }

 private:
  int value_;
};

std::string errno_text(int error) {
  return std::strerror(error);
}

// Opens a regular file for reading and tells its size.
int open_regular(const std::filesystem::path& path, ExitCode code, size_t& size) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    const int error = errno;
    fail(code,
         {path.string(), "", "a readable file", errno_text(error), error == ENOENT ? "check the path" : ""});
  }
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    fail(code, {path.string(), "", "a regular file",
                S_ISDIR(status.st_mode) ? "a directory" : "a special file", "check the path"});
  }
  size = static_cast<size_t>(status.st_size);
  return descriptor;
}

[[noreturn]] void fail_write(const std::filesystem::path& path, int error, size_t bytes) {
  if (error == ENOSPC || error == EDQUOT) {
    struct statvfs space {};
    std::string found = error == EDQUOT ? "a spent quota" : "a full disk";
    if (::statvfs(path.parent_path().empty() ? "." : path.parent_path().c_str(), &space) == 0) {
      const uint64_t free_bytes = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
      found += " with " + std::to_string(free_bytes) + " bytes free";
    }
    fail(ExitCode::resource, {path.string(), "", "room for " + std::to_string(bytes) + " more bytes", found,
                              "free some space or choose another output_dir"});
  }
  fail(ExitCode::resource, {path.string(), "", "a file that can be written", errno_text(error),
                            error == EFBIG ? "raise ulimit -f, or choose another file system" : ""});
}

// The temporary of write_atomically: removed unless it was renamed.
class Temporary {
 public:
  explicit Temporary(const std::filesystem::path& target)
      : path_(target.parent_path() /
              ("." + target.filename().string() + ".tmp-" + std::to_string(::getpid()))) {}
  ~Temporary() {
    if (!renamed_) ::unlink(path_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  const std::filesystem::path& path() const { return path_; }
  void rename_to(const std::filesystem::path& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) fail_write(target, errno, 0);
    renamed_ = true;
  }

 private:
  std::filesystem::path path_;
  bool renamed_ = false;
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path, ExitCode code) : path_(path) {
  size_t size = 0;
  const Descriptor descriptor(open_regular(path, code, size));
  if (size == 0) return;  // mmap refuses a length of 0
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.value(), 0);
  if (data == MAP_FAILED) {
    fail(ExitCode::resource,
         {path.string(), "", "a file that can be mapped (" + std::to_string(size) + " bytes)",
          errno_text(errno), ""});
  }
  bytes_ = {static_cast<const std::byte*>(data), size};
  guard_mapping(bytes_, path.string());
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  release_mapping(bytes_);
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

std::string read_text(const std::filesystem::path& path, ExitCode code, size_t max_bytes) {
  size_t size = 0;
  const Descriptor descriptor(open_regular(path, code, size));
  if (size > max_bytes) {
    fail(code,
         {path.string(), "", "at most " + std::to_string(max_bytes) + " bytes", std::to_string(size), ""});
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::read(descriptor.value(), text.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(code, {at_byte(path.string(), done), "", "a readable file", errno_text(errno), ""});
    if (n == 0) break;  // the file shrank since it was opened
    done += static_cast<size_t>(n);
  }
  text.resize(done);
  return text;
}

void write_all(int descriptor, const void* data, size_t bytes, const std::filesystem::path& path) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(descriptor, from, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_write(path, errno, bytes);
    if (n == 0) fail_write(path, ENOSPC, bytes);
    from += n;
    bytes -= static_cast<size_t>(n);
  }
}

void sync_directory(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory.empty() ? "." : directory;
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.value() < 0) fail_write(path, errno, 0);
  if (::fsync(descriptor.value()) != 0) fail_write(path, errno, 0);
}

void write_atomically(const std::filesystem::path& path, const std::function<void(int descriptor)>& write) {
  Temporary temporary(path);
  {
    const Descriptor descriptor(
        ::open(temporary.path().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (descriptor.value() < 0) fail_write(path, errno, 0);
    write(descriptor.value());
    // A failed fsync is final: the kernel may have dropped the pages, and a second call would report success.
    if (::fsync(descriptor.value()) != 0) fail_write(path, errno, 0);
  }
  temporary.rename_to(path);
  sync_directory(path.parent_path());
}

void write_atomically(const std::filesystem::path& path, std::string_view text) {
  write_atomically(path, [&](int descriptor) { write_all(descriptor, text.data(), text.size(), path); });
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr) throw std::bad_alloc();
  if (EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) != 1) {
    fail_internal("Sha256", "OpenSSL has no SHA-256");
  }
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_));
}

void Sha256::update(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size());
}

void Sha256::update(std::string_view text) {
  update(std::as_bytes(std::span(text.data(), text.size())));
}

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest, &size);
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15u];
  }
  return text;
}

std::string sha256_of_file(const std::filesystem::path& path, ExitCode code) {
  size_t size = 0;
  const Descriptor descriptor(open_regular(path, code, size));
  Sha256 sum;
  std::string buffer(size_t{1} << 20, '\0');
  while (true) {
    const ssize_t n = ::read(descriptor.value(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(code, {path.string(), "", "a readable file", errno_text(errno), ""});
    if (n == 0) return sum.hex();
    sum.update(std::string_view(buffer).substr(0, static_cast<size_t>(n)));
  }
}

std::string sha256_of(std::string_view text) {
  Sha256 sum;
  sum.update(text);
  return sum.hex();
}

}  // namespace gorgon
