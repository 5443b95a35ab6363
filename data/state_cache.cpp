#include "data/state_cache.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "data/cache_block.h"
#include "data/file.h"
#include "data/file_lock.h"
#include "data/hdf5_file.h"
#include "kernels/error.h"

namespace gorgon {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void bad_cache(const fs::path& path, const std::string& key, const std::string& expected,
                            const std::string& found) {
  fail(ExitCode::data, {path.string(), key, expected, found, kCacheRemedy});
}

// An open file, read and written at places of its own.
class OpenFile {
 public:
  OpenFile(const fs::path& path, int flags)
      : path_(path), descriptor_(::open(path.c_str(), flags | O_CLOEXEC)) {
    if (descriptor_ < 0) bad_cache(path, "", "a cache that can be opened", std::strerror(errno));
  }
  ~OpenFile() { ::close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor() const { return descriptor_; }
  int64_t size() const {
    struct stat status {};
    return ::fstat(descriptor_, &status) == 0 ? static_cast<int64_t>(status.st_size) : 0;
  }
  // As many of `bytes` as there are.
  int64_t read(int64_t at, std::byte* to, int64_t bytes) const {
    int64_t done = 0;
    while (done < bytes) {
      const ssize_t n = ::pread(descriptor_, to + done, static_cast<size_t>(bytes - done), at + done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) bad_cache(path_, "", "a readable file", std::strerror(errno));
      if (n == 0) break;
      done += n;
    }
    return done;
  }
  void read_all(int64_t at, std::byte* to, int64_t bytes) const {
    const int64_t found = read(at, to, bytes);
    if (found < bytes) {
      bad_cache(path_, "", "a complete file", "one that ends at byte " + std::to_string(at + found));
    }
  }
  void write(int64_t at, const void* from, size_t bytes) const {
    if (::lseek(descriptor_, at, SEEK_SET) != at) {
      fail(ExitCode::resource, {path_.string(), "", "a file that can be written", std::strerror(errno), ""});
    }
    write_all(descriptor_, from, bytes, path_);
  }
  void add_to(Sha256& sum, int64_t begin, int64_t end) const {
    constexpr int64_t kPiece = 1 << 20;
    std::vector<std::byte> piece(static_cast<size_t>(std::min(kPiece, std::max<int64_t>(end - begin, 0))));
    for (int64_t at = begin; at < end; at += kPiece) {
      const auto count = std::min(kPiece, end - at);
      read_all(at, piece.data(), count);
      sum.update(std::span(piece).first(static_cast<size_t>(count)));
    }
  }

 private:
  fs::path path_;
  int descriptor_;
};

std::string first_bytes(const OpenFile& file) {
  std::string text(std::min(kMostBlockBytes, static_cast<size_t>(file.size())), '\0');
  const int64_t found = file.read(0, reinterpret_cast<std::byte*>(text.data()), std::ssize(text));
  text.resize(static_cast<size_t>(found));
  return text;
}

std::string frame_sum(const OpenFile& file, const CacheBlock& block) {
  const int64_t rows = block.layout.states();
  Sha256 sum;
  file.add_to(sum, cache_block_bytes(block.layout), block.id_begin);
  file.add_to(sum, block.id_begin + 8 * rows, block.hidden_begin);
  file.add_to(sum, block.hidden_begin + rows * block.layout.row_bytes(), block.file_bytes);
  return sum.hex();
}

std::string shard_sum(const OpenFile& file, const CacheBlock& block, int64_t shard) {
  const int64_t begin = block.layout.shard_begin[static_cast<size_t>(shard)];
  const int64_t end = block.layout.shard_begin[static_cast<size_t>(shard) + 1];
  const int64_t row = block.layout.row_bytes();
  Sha256 sum;
  file.add_to(sum, block.id_begin + 8 * begin, block.id_begin + 8 * end);
  file.add_to(sum, block.hidden_begin + row * begin, block.hidden_begin + row * end);
  return sum.hex();
}

bool is_same(const CacheLayout& a, const CacheLayout& b) {
  return a.type == b.type && a.width == b.width && a.shard_begin == b.shard_begin && a.identity == b.identity;
}

void check_room(const fs::path& path, int64_t bytes) {
  const fs::path folder = path.parent_path().empty() ? "." : path.parent_path();
  struct statvfs space {};
  if (::statvfs(folder.c_str(), &space) != 0) return;  // unknown: reserving it will tell
  const auto free_bytes = static_cast<int64_t>(space.f_bavail) * static_cast<int64_t>(space.f_frsize);
  if (free_bytes >= bytes) return;
  fail(ExitCode::resource, {path.string(), "", "room for " + std::to_string(bytes) + " bytes",
                            "a disk with " + std::to_string(free_bytes) + " bytes free",
                            "free some space, name another place with "
                            "--cache, or set state_cache: off"});
}

}  // namespace

int64_t cache_bytes(const CacheLayout& layout) {
  constexpr int64_t kFrame = 8192;
  return cache_block_bytes(layout) + kFrame + layout.states() * (8 + layout.row_bytes());
}

struct CacheWriter::Impl {
  fs::path path, partial;
  std::optional<FileLock> lock;
  CacheBlock block;
  std::optional<OpenFile> file;

  void take_lock();
  bool take_up(const CacheLayout& layout);
  void begin(const CacheLayout& layout);
  void make_room(const CacheLayout& layout);
  void reserve() const;
  void write_block() const {
    const std::string text = format_cache_block(block);
    file->write(0, text.data(), text.size());
  }
};

void CacheWriter::Impl::take_lock() {
  const fs::path name = path.parent_path() / ("." + path.filename().string() + ".lock");
  lock = FileLock::try_take(name);
  if (lock) return;
  fail(ExitCode::data, {path.string(), "", "a cache that nobody else writes",
                        "one being written by " + FileLock::holder(name), "wait for it"});
}

// Goes on with what an earlier process left; false where that is of no use.
bool CacheWriter::Impl::take_up(const CacheLayout& layout) {
  if (!fs::exists(partial)) return false;
  file.emplace(partial, O_RDWR);
  try {
    block = parse_cache_block(first_bytes(*file), partial.string());
    if (!is_same(block.layout, layout) || file->size() != block.file_bytes ||
        frame_sum(*file, block) != block.frame_sha256) {
      return false;
    }
    for (int64_t i = 0; i < layout.shards(); ++i) {
      std::string& sum = block.shard_sha256[static_cast<size_t>(i)];
      if (!sum.empty() && shard_sum(*file, block, i) != sum) sum.clear();
    }
  } catch (const Error&) {
    return false;  // damaged: derived data, made again
  }
  block.complete = false;
  return true;
}

void CacheWriter::Impl::begin(const CacheLayout& layout) {
  file.reset();
  fs::remove(partial);
  check_room(path, cache_bytes(layout));
  block = {};
  block.layout = layout;
  block.shard_sha256.resize(static_cast<size_t>(layout.shards()));
  try {
    make_room(layout);
  } catch (const Error&) {
    file.reset();
    std::error_code ignored;
    fs::remove(partial, ignored);
    throw;
  }
}

void CacheWriter::Impl::make_room(const CacheLayout& layout) {
  const int64_t rows = layout.states();
  const std::vector<int64_t> places =
      hdf5::make_file_with_room(partial, static_cast<size_t>(cache_block_bytes(layout)), layout.identity,
                                {{"id", DType::i64, {rows}}, {"hidden", layout.type, {rows, layout.width}}});
  block.id_begin = places[0];
  block.hidden_begin = places[1];
  file.emplace(partial, O_RDWR);
  block.file_bytes = std::max(file->size(), block.hidden_begin + rows * layout.row_bytes());
  reserve();
  block.frame_sha256 = frame_sum(*file, block);
  write_block();
}

// A full disk is found now and not after hours. Some file systems cannot reserve.
void CacheWriter::Impl::reserve() const {
  if (::ftruncate(file->descriptor(), block.file_bytes) != 0) check_room(path, block.file_bytes);
  if (::fallocate(file->descriptor(), 0, 0, block.file_bytes) == 0 || errno == EOPNOTSUPP) return;
  fail(ExitCode::resource, {path.string(), "", "room for " + std::to_string(block.file_bytes) + " bytes",
                            std::strerror(errno), "free some space, or set state_cache: off"});
}

CacheWriter::CacheWriter(const fs::path& path, const CacheLayout& layout) : impl_(std::make_unique<Impl>()) {
  require(layout.shards() > 0 && layout.states() > 0, "CacheWriter", "no states");
  impl_->path = path;
  impl_->partial = path.parent_path() / ("." + path.filename().string() + ".partial");
  impl_->take_lock();
  if (!impl_->take_up(layout)) impl_->begin(layout);
}

CacheWriter::~CacheWriter() = default;

bool CacheWriter::has(int64_t shard) const {
  return !impl_->block.shard_sha256[static_cast<size_t>(shard)].empty();
}

void CacheWriter::write(int64_t shard, std::span<const int64_t> ids, std::span<const std::byte> states) {
  CacheBlock& block = impl_->block;
  const int64_t begin = block.layout.shard_begin[static_cast<size_t>(shard)];
  const int64_t rows = block.layout.shard_begin[static_cast<size_t>(shard) + 1] - begin;
  const int64_t row_bytes = block.layout.row_bytes();
  require(std::ssize(ids) == rows && std::ssize(states) == rows * row_bytes, "CacheWriter",
          "rows of a shard");
  impl_->file->write(block.id_begin + 8 * begin, ids.data(), ids.size_bytes());
  impl_->file->write(block.hidden_begin + row_bytes * begin, states.data(), states.size_bytes());
  Sha256 sum;
  sum.update(std::as_bytes(ids));
  sum.update(states);
  block.shard_sha256[static_cast<size_t>(shard)] = sum.hex();
  impl_->write_block();
}

void CacheWriter::publish() {
  Impl& w = *impl_;
  for (int64_t i = 0; i < w.block.layout.shards(); ++i) require(has(i), "CacheWriter", "a shard is missing");
  w.block.complete = true;
  w.write_block();
  // A failed fsync is final: the kernel may have dropped the pages.
  if (::fsync(w.file->descriptor()) != 0 || ::rename(w.partial.c_str(), w.path.c_str()) != 0) {
    const std::string error = std::strerror(errno);
    fail(ExitCode::resource, {w.path.string(), "", "a file that can be written", error, ""});
  }
  sync_directory(w.path.parent_path());
}

struct CacheReader::Impl {
  explicit Impl(const fs::path& path) : file(path, O_RDONLY) {}
  OpenFile file;
  CacheBlock block;
  std::vector<int64_t> ids;
};

CacheReader::CacheReader(const fs::path& path, const std::function<void(int64_t, int64_t)>& progress)
    : impl_(std::make_unique<Impl>(path)) {
  const OpenFile& file = impl_->file;
  CacheBlock& block = impl_->block;
  const std::string text = first_bytes(file);
  block = parse_cache_block(text, path.string());
  if (!block.complete || file.size() != block.file_bytes) {
    bad_cache(path, "", "a complete file of " + std::to_string(block.file_bytes) + " bytes",
              "an incomplete one of " + std::to_string(file.size()));
  }
  const std::string whole = format_cache_block(block);
  if (!text.starts_with(whole)) bad_cache(path, "first lines", "those that were sealed", "others");
  if (frame_sum(file, block) != block.frame_sha256) {
    bad_cache(path, "frame", "SHA-256 " + block.frame_sha256, "another");
  }
  const CacheLayout& layout = block.layout;
  for (int64_t i = 0; i < layout.shards(); ++i) {
    const std::string found = shard_sum(file, block, i), &sum = block.shard_sha256[static_cast<size_t>(i)];
    if (found != sum) bad_cache(path, "shard " + std::to_string(i), "SHA-256 " + quote_value(sum), found);
    if (progress)
      progress(layout.shard_begin[static_cast<size_t>(i) + 1] * layout.row_bytes(),
               layout.states() * layout.row_bytes());
  }
  impl_->ids.resize(static_cast<size_t>(layout.states()));
  file.read_all(block.id_begin, reinterpret_cast<std::byte*>(impl_->ids.data()), 8 * layout.states());
  if (std::adjacent_find(impl_->ids.begin(), impl_->ids.end(), std::greater_equal<>()) != impl_->ids.end()) {
    bad_cache(path, "/id", "ascending ids", "others");
  }
}

CacheReader::~CacheReader() = default;

const CacheLayout& CacheReader::layout() const {
  return impl_->block.layout;
}

const std::vector<int64_t>& CacheReader::ids() const {
  return impl_->ids;
}

void CacheReader::read(int64_t first, int64_t count, std::byte* out) const {
  const int64_t row = layout().row_bytes();
  require(first >= 0 && count >= 0 && first + count <= layout().states(), "CacheReader",
          "rows outside the cache");
  impl_->file.read_all(impl_->block.hidden_begin + first * row, out, count * row);
}

bool is_state_cache(const fs::path& path) {
  const OpenFile file(path, O_RDONLY);
  return first_bytes(file).starts_with(kCacheMark);
}

CacheLayout peek_cache(const fs::path& path) {
  const OpenFile file(path, O_RDONLY);
  return parse_cache_block(first_bytes(file), path.string()).layout;
}

}  // namespace gorgon
