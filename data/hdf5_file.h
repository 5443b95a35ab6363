#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/dtype.h"

// HDF5 as gorgon writes and reads it: plain arrays and string attributes of the root group, behind a user
// block of the caller's. Without filters, links, locks, times or objects of other types: the same contents
// make the same bytes. Whoever opens a file checks its bytes first, because the library can crash on a
// damaged one.
namespace gorgon::hdf5 {

using Attributes = std::map<std::string, std::string>;  // values of at most 32 KiB

struct Array {
  std::string name;
  DType type = DType::i32;  // i32, i64, f32; bf16 is kept as the u16 of its bits
  std::vector<int64_t> shape;
  const void* values = nullptr;
};

// The bytes of a file behind its user block (a power of two of at least 512), made in memory: a write that
// fails (a full disk) leaves HDF5 1.10 with a file that it can neither close nor forget. Throws
// Error(resource) naming `path`.
std::vector<std::byte> file_image(const std::filesystem::path& path, size_t user_block,
                                  const Attributes& attributes, const std::vector<Array>& arrays);

// Makes `path` with room for the arrays, whose values are not written: the byte in the file at which those of
// each begin, row-major, little-endian. A few KiB are written, the rest is a hole. Throws Error(resource).
std::vector<int64_t> make_file_with_room(const std::filesystem::path& path, size_t user_block,
                                         const Attributes& attributes, const std::vector<Array>& arrays);

// Reads a file. Errors are Error(data) that name the array and end with `remedy`.
class File {
 public:
  File(const std::filesystem::path& path, const std::string& remedy);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  std::vector<int32_t> i32(const std::string& name) const;  // of rank 1
  std::vector<int64_t> i64(const std::string& name) const;
  Attributes attributes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gorgon::hdf5
