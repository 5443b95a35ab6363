#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

namespace gorgon {

// Memory of one device that is borrowed and given back like a stack. It grows to the most that was borrowed
// at once and stays, so that a repeated step allocates nothing.
class Arena {
 public:
  explicit Arena(Device device) : device_(device) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // What a buffer of so many bytes takes.
  static int64_t padded(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

  // 256-byte aligned, not initialised. `name` is what the user reads where there is no memory for it.
  View take(const char* name, DType type, Shape shape);

  struct Place {
    size_t block = 0;
    int64_t used = 0;   // of that block
    int64_t taken = 0;  // of all
  };
  Place place() const { return place_; }
  void back_to(Place place);

  // The first block takes so many bytes at least: no second one beside it where the need is known.
  void reserve(int64_t bytes) { peak_ = std::max(peak_, bytes); }

  int64_t peak_bytes() const { return peak_; }  // the most that was borrowed at once, or reserved
  // Blocks made so far: while it stays, the same requests in the same order get the same addresses.
  int64_t allocations() const { return allocations_; }

 private:
  static constexpr int64_t kAlignment = 256;
  struct Block {
    std::byte* data;
    int64_t bytes;
  };
  void release_blocks();

  Device device_;
  std::vector<Block> blocks_;
  Place place_;
  int64_t peak_ = 0;
  int64_t allocations_ = 0;
};

// Buffers that a call needs until it returns, from the arena of its stream. Scopes nest; the innermost one
// takes.
class Workspace {
 public:
  explicit Workspace(const Stream& stream) : arena_(stream.arena()), begin_(arena_.place()) {}
  ~Workspace() { arena_.back_to(begin_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  View take(const char* name, DType type, Shape shape) { return arena_.take(name, type, shape); }

 private:
  Arena& arena_;
  Arena::Place begin_;
};

}  // namespace gorgon
