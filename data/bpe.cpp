#include "data/bpe.h"

#include <array>
#include <bit>
#include <limits>
#include <queue>
#include <tuple>

namespace gorgon {
namespace {

// Below this many symbols a plain scan for the lowest rank beats the heap.
constexpr size_t kShort = 32;

uint64_t pair_key(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

// Fibonacci hashing: the high bits of a product with 2^64 / golden ratio.
uint64_t spread(uint64_t key) {
  return (key * 0x9E3779B97F4A7C15ull) >> 20;
}

// A merge that may have become stale: it is so when the two symbols no longer make `result`.
struct Candidate {
  int32_t rank, result;
  uint32_t position;
  bool operator>(const Candidate& other) const {
    return std::tie(rank, position) > std::tie(other.rank, other.position);
  }
};

}  // namespace

BpeTable::BpeTable(std::span<const BpeMerge> merges) {
  slots_.resize(std::bit_ceil(merges.size() * 2 + 2), Slot{kEmpty, 0, 0});
  mask_ = slots_.size() - 1;
  for (const BpeMerge& merge : merges) {
    const uint64_t key = pair_key(merge.left, merge.right);
    uint64_t at = spread(key) & mask_;
    while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask_;
    if (slots_[at].key == kEmpty) slots_[at] = {key, merge.rank, merge.result};
  }
}

const BpeTable::Slot* BpeTable::find(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  for (uint64_t at = spread(key) & mask_; slots_[at].key != kEmpty; at = (at + 1) & mask_) {
    if (slots_[at].key == key) return &slots_[at];
  }
  return nullptr;
}

void BpeTable::apply(std::vector<BpeSymbol>& symbols) const {
  if (symbols.size() < 2) return;
  symbols.size() <= kShort ? apply_short(symbols) : apply_long(symbols);
}

void BpeTable::apply_short(std::vector<BpeSymbol>& symbols) const {
  std::array<const Slot*, kShort> merge;  // merge[i] joins symbols i and i + 1
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) merge[i] = find(symbols[i].id, symbols[i + 1].id);
  while (count > 1) {
    size_t best = count;
    int32_t lowest = std::numeric_limits<int32_t>::max();
    for (size_t i = 0; i + 1 < count; ++i) {
      if (merge[i] && merge[i]->rank < lowest) {
        lowest = merge[i]->rank;
        best = i;
      }
    }
    if (best == count) break;
    symbols[best] = {merge[best]->result, symbols[best].bytes + symbols[best + 1].bytes};
    for (size_t i = best + 1; i + 1 < count; ++i) symbols[i] = symbols[i + 1];
    --count;
    for (size_t i = best + 1; i + 1 < count; ++i) merge[i] = merge[i + 1];
    if (best > 0) merge[best - 1] = find(symbols[best - 1].id, symbols[best].id);
    if (best + 1 < count) merge[best] = find(symbols[best].id, symbols[best + 1].id);
  }
  symbols.resize(count);
}

// A linked list of symbols and a heap of the merges that may come next.
void BpeTable::apply_long(std::vector<BpeSymbol>& symbols) const {
  constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  const auto count = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> next(count), previous(count);
  std::vector<Candidate> candidates;
  candidates.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    previous[i] = i > 0 ? i - 1 : kNone;
    next[i] = i + 1 < count ? i + 1 : kNone;
    if (i + 1 == count) break;
    if (const Slot* slot = find(symbols[i].id, symbols[i + 1].id)) {
      candidates.push_back({slot->rank, slot->result, i});
    }
  }
  std::priority_queue heap(std::greater<Candidate>(), std::move(candidates));
  const auto offer = [&](uint32_t left) {
    if (left == kNone || next[left] == kNone) return;
    const Slot* slot = find(symbols[left].id, symbols[next[left]].id);
    if (slot) heap.push({slot->rank, slot->result, left});
  };
  while (!heap.empty()) {
    const Candidate top = heap.top();
    heap.pop();
    const uint32_t left = top.position;
    if (symbols[left].bytes == 0 || next[left] == kNone) continue;  // swallowed by its left neighbour
    const uint32_t right = next[left];
    const Slot* slot = find(symbols[left].id, symbols[right].id);
    if (!slot || slot->rank != top.rank || slot->result != top.result) continue;
    symbols[left] = {top.result, symbols[left].bytes + symbols[right].bytes};
    symbols[right].bytes = 0;
    next[left] = next[right];
    if (next[left] != kNone) previous[next[left]] = left;
    offer(previous[left]);
    offer(left);
  }
  std::erase_if(symbols, [](const BpeSymbol& symbol) { return symbol.bytes == 0; });
}

}  // namespace gorgon
