#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/dtype.h"

namespace gorgon {

// cache.h5: states of the frozen backbone, one row each, in document order. An HDF5 file with /hidden T[Q, H]
// (bf16 as the u16 of its bits), /id i64[Q] (flat token index in dataset.h5) and the identity as attributes
// of the root group; other programs may read it. Its user block holds lines of text: the layout, a SHA-256 of
// every shard of rows, one of all bytes beside them, and, once all is there, "complete" with a SHA-256 of the
// block itself. Gorgon checks all of them before use and never lets the HDF5 library open a file.
struct CacheLayout {
  DType type = DType::bf16;                     // T: bf16 or f32
  int64_t width = 0;                            // H
  std::vector<int64_t> shard_begin;             // [shards + 1] rows, from 0 to Q
  std::map<std::string, std::string> identity;  // what the states depend on; keys and values without spaces

  int64_t states() const { return shard_begin.back(); }
  int64_t shards() const { return static_cast<int64_t>(shard_begin.size()) - 1; }
  int64_t row_bytes() const { return bytes_of(type, width); }
};

// Bytes on disk, to a few KiB.
int64_t cache_bytes(const CacheLayout& layout);

// Writes a cache shard by shard into `.NAME.partial` beside `path`. Shards that an earlier process finished
// there for the same layout and identity are kept when their SHA-256 is right; anything else there is begun
// anew. One process at a time: Error(data) names another that writes it. Error(resource) when the disk has
// not the room for all of it, before anything is written; what is there stays.
class CacheWriter {
 public:
  CacheWriter(const std::filesystem::path& path, const CacheLayout& layout);
  ~CacheWriter();
  CacheWriter(const CacheWriter&) = delete;
  CacheWriter& operator=(const CacheWriter&) = delete;

  bool has(int64_t shard) const;
  // ids i64[rows of the shard], ascending; states T[rows, H].
  void write(int64_t shard, std::span<const int64_t> ids, std::span<const std::byte> states);
  // All shards are there: marks the file complete and gives it its name.
  void publish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A complete cache. Opening it checks every byte; reading takes rows with pread, so that a file of any size
// costs no memory. Throws Error(data): no cache of gorgon's, incomplete, a checksum (which shard), a file
// that shrank meanwhile.
class CacheReader {
 public:
  // progress(bytes checked, bytes in all)
  explicit CacheReader(const std::filesystem::path& path,
                       const std::function<void(int64_t, int64_t)>& progress = {});
  ~CacheReader();
  CacheReader(const CacheReader&) = delete;
  CacheReader& operator=(const CacheReader&) = delete;

  const CacheLayout& layout() const;
  const std::vector<int64_t>& ids() const;  // [Q] ascending
  // Rows [first, first + count) to `out`, T[count, H].
  void read(int64_t first, int64_t count, std::byte* out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether the file begins as one of these does, damaged or not.
bool is_state_cache(const std::filesystem::path& path);
// The layout that the file's first bytes promise, unchecked: to tell what another cache was made from.
CacheLayout peek_cache(const std::filesystem::path& path);

}  // namespace gorgon
