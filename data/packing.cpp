#include "data/packing.h"

#include <algorithm>

#include "kernels/error.h"

namespace gorgon {

std::string_view name(Packing packing) {
  return packing == Packing::wrapped ? "wrapped" : "none";
}

Packer::Packer(Packing packing, int64_t max_seq_length, Dataset& out)
    : packing_(packing), max_seq_length_(max_seq_length), out_(out) {
  require(max_seq_length > 0, "Packer", "max_seq_length below 1");
  require(out.tokens.empty() && out.offsets.empty(), "Packer", "a data set that is not empty");
  out_.offsets.push_back(0);
}

void Packer::add(std::span<const int32_t> tokens, std::span<const int32_t> labels) {
  require(!tokens.empty() && tokens.size() == labels.size(), "Packer::add",
          "labels and tokens differ in number");
  const auto limit = static_cast<size_t>(max_seq_length_);
  if (packing_ == Packing::none) {
    const size_t kept = std::min(tokens.size(), limit);
    append(tokens.first(kept), labels.first(kept));
    close_sequence();
    clipped_tokens_ += static_cast<int64_t>(tokens.size() - kept);
    clipped_documents_ += kept < tokens.size();
    return;
  }
  size_t done = 0;
  while (done < tokens.size()) {
    const size_t count = std::min(tokens.size() - done, limit - static_cast<size_t>(open_tokens()));
    append(tokens.subspan(done, count), labels.subspan(done, count));
    done += count;
    if (open_tokens() == max_seq_length_) close_sequence();
  }
  if (open_tokens() > 0) ++segment_;
}

void Packer::finish() {
  if (open_tokens() > 0) close_sequence();
}

void Packer::append(std::span<const int32_t> tokens, std::span<const int32_t> labels) {
  out_.tokens.insert(out_.tokens.end(), tokens.begin(), tokens.end());
  out_.labels.insert(out_.labels.end(), labels.begin(), labels.end());
  out_.segments.insert(out_.segments.end(), tokens.size(), segment_);
}

int64_t Packer::open_tokens() const {
  return static_cast<int64_t>(out_.tokens.size()) - out_.offsets.back();
}

void Packer::close_sequence() {
  out_.offsets.push_back(static_cast<int64_t>(out_.tokens.size()));
  segment_ = 0;
}

}  // namespace gorgon
