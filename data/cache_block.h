#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/state_cache.h"

namespace gorgon {

// The user block of cache.h5 as text: what data/state_cache.h says, one thing a line.
struct CacheBlock {
  CacheLayout layout;
  int64_t file_bytes = 0, id_begin = 0, hidden_begin = 0;  // of the whole file; where the arrays begin
  std::string frame_sha256;                                // of all bytes behind the block but the arrays'
  std::vector<std::string> shard_sha256;                   // [shards]; "" = not there yet
  bool complete = false;
};

// Bytes of the block for so many shards: a power of two, as HDF5 wants it.
int64_t cache_block_bytes(const CacheLayout& layout);
// Padded with zeros to cache_block_bytes.
std::string format_cache_block(const CacheBlock& block);
// Throws Error(data) naming `file` and the line that is wrong. Sizes are checked against each other.
CacheBlock parse_cache_block(std::string_view bytes, const std::string& file);

constexpr int64_t kMaxShards = 8192;                 // so that
constexpr size_t kMostBlockBytes = size_t{1} << 20;  // holds the block
constexpr std::string_view kCacheMark = "gorgon cache 1\n";
constexpr const char* kCacheRemedy = "remove the file and make it again: gorgon cache CONFIG";

}  // namespace gorgon
