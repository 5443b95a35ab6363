#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "data/dataset_file.h"

namespace gorgon {

// How documents become sequences of at most max_seq_length tokens.
//   wrapped  documents run on, with nothing put between them; cut every max_seq_length tokens, the last piece
//   is
//            kept. A document may continue in the next sequence (and is segment 0 of it).
//   none     one document a sequence; what lies behind max_seq_length tokens is clipped.
enum class Packing : uint8_t { wrapped, none };
std::string_view name(Packing packing);  // "wrapped", "none"

// Packs documents one after the other onto the end of a data set. Fills tokens, labels, segments (document
// number within its sequence, from 0) and offsets.
class Packer {
 public:
  // max_seq_length in tokens, at least 1. `out` must be empty and outlive the packer.
  Packer(Packing packing, int64_t max_seq_length, Dataset& out);

  // One document, at least one token; labels: the token itself or -100, as many as tokens.
  void add(std::span<const int32_t> tokens, std::span<const int32_t> labels);
  void finish();  // closes the last sequence; nothing may be added afterwards

  int64_t clipped_tokens() const { return clipped_tokens_; }
  int64_t clipped_documents() const { return clipped_documents_; }

 private:
  void append(std::span<const int32_t> tokens, std::span<const int32_t> labels);
  int64_t open_tokens() const;  // tokens of the sequence at work
  void close_sequence();

  Packing packing_;
  int64_t max_seq_length_;
  Dataset& out_;
  int32_t segment_ = 0;
  int64_t clipped_tokens_ = 0;
  int64_t clipped_documents_ = 0;
};

}  // namespace gorgon
