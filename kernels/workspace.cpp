#include "kernels/workspace.h"

#include <algorithm>

#include "kernels/error.h"

namespace gorgon {

namespace {
constexpr int64_t kAlignment = 256;
}

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
  const int64_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  // Everything was given back: one block for the most that was ever borrowed takes the place of several.
  if (blocks_.size() > 1 && place_.taken == 0) release_blocks();
  while (place_.block < blocks_.size() && place_.used + padded > blocks_[place_.block].bytes) {
    place_.used = 0;
    ++place_.block;
  }
  if (place_.block == blocks_.size()) {
    const int64_t size = blocks_.empty() ? std::max(padded, peak_) : padded;
    const Purpose purpose{name};
    blocks_.push_back(
        {static_cast<std::byte*>(allocate(device_, size, purpose, describe(type, shape))), size});
  }
  std::byte* data = blocks_[place_.block].data + place_.used;
  place_.used += padded;
  place_.taken += padded;
  peak_ = std::max(peak_, place_.taken);
  return {data, type, shape, device_, 0};
}

void Arena::back_to(Place place) {
  place_ = place;
}

}  // namespace gorgon
