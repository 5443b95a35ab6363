#include "kernels/workspace.h"

#include <algorithm>

#include "kernels/error.h"

namespace gorgon {

Arena::~Arena() {
  release_blocks();
}

void Arena::release_blocks() {
  for (const Block& block : blocks_) release(device_, block.data);
  blocks_.clear();
}

View Arena::take(const char* name, DType type, Shape shape) {
  const int64_t bytes = bytes_of(type, shape.elements());
  if (bytes == 0) return {nullptr, type, shape, device_, 0};
  const int64_t size = padded(bytes);
  // Everything was given back: one block for the most that was ever borrowed takes the place of several.
  if (blocks_.size() > 1 && place_.taken == 0) release_blocks();
  while (place_.block < blocks_.size() && place_.used + size > blocks_[place_.block].bytes) {
    place_.used = 0;
    ++place_.block;
  }
  if (place_.block == blocks_.size()) {
    const int64_t block = blocks_.empty() ? std::max(size, peak_) : size;
    const Purpose purpose{name};
    ++allocations_;
    blocks_.push_back(
        {static_cast<std::byte*>(allocate(device_, block, purpose, describe(type, shape))), block});
  }
  std::byte* data = blocks_[place_.block].data + place_.used;
  place_.used += size;
  place_.taken += size;
  peak_ = std::max(peak_, place_.taken);
  return {data, type, shape, device_, 0};
}

void Arena::back_to(Place place) {
  place_ = place;
}

}  // namespace gorgon
