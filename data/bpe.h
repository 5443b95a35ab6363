#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gorgon {

// "left, right become result", in the order of rank: 0 is the merge learned first.
struct BpeMerge {
  int32_t left, right, result, rank;
};

// A piece of a word: its token and how many bytes of the word it covers.
struct BpeSymbol {
  int32_t id;
  int32_t bytes;
};

// Table of merges (R. Sennrich, B. Haddow, A. Birch: Neural Machine Translation of Rare Words with Subword
// Units, algorithm 1), on token ids. Const and usable from several threads.
class BpeTable {
 public:
  BpeTable() : BpeTable(std::span<const BpeMerge>()) {}
  // Of several merges of one pair the first counts.
  explicit BpeTable(std::span<const BpeMerge> merges);

  // Merges in place, always the pair of the lowest rank and the leftmost among equals, until none is left.
  // O(n log n) in the number of symbols.
  void apply(std::vector<BpeSymbol>& symbols) const;

 private:
  struct Slot {
    uint64_t key;  // left << 32 | right; kEmpty where unused
    int32_t rank, result;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};

  const Slot* find(int32_t left, int32_t right) const;
  void apply_short(std::vector<BpeSymbol>& symbols) const;
  void apply_long(std::vector<BpeSymbol>& symbols) const;

  std::vector<Slot> slots_;  // open addressing, at most half full, a power of two
  uint64_t mask_ = 0;
};

}  // namespace gorgon
