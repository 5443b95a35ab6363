#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gorgon {

// Half-open range of bytes.
struct ByteRange {
  int64_t begin, end;
};

// A piece of a text on its way through normalisation: its bytes now, and for each of them the bytes of the
// original text that it came from. What was put in (a prefix space) came from the empty range before it.
class AlignedText {
 public:
  // Bytes of the original from `offset` on; `source` must outlive this.
  AlignedText(std::string_view source, int64_t offset) : source_(source), offset_(offset) {}

  std::string_view text() const { return edited_ ? own_ : source_; }
  // Of the original, for bytes [begin, end) of text().
  ByteRange origin(size_t begin, size_t end) const;
  // A part as a text of its own; this must outlive it.
  AlignedText part(size_t begin, size_t end) const;

  // Before each of these bytes of text(), which ascend.
  void insert(const std::vector<size_t>& places, std::string_view content);
  // Every occurrence of `pattern`, from the left, without overlap; nothing where it is empty.
  void replace(std::string_view pattern, std::string_view content);
  // Unicode normalisation form "NFC", "NFD", "NFKC" or "NFKD". Characters that change together share the
  // range of all of them.
  void normalise(std::string_view form);

 private:
  // Bytes of text() from `at` to the next run's. Copied ones came from one byte each, from `begin` on; the
  // others all came from [begin, end).
  struct Run {
    size_t at;
    int64_t begin, end;
    bool copied;
  };

  const Run& run_of(size_t place) const;
  void begin_edit();
  void keep(size_t begin, size_t end);                           // bytes of text() as they are
  void put(std::string_view content, size_t begin, size_t end);  // content in the place of these bytes
  void end_edit();

  std::string_view source_;
  int64_t offset_;
  bool edited_ = false;
  std::string own_;        // once edited
  std::vector<Run> runs_;  // of own_, the first at 0
  std::string next_;       // under edit
  std::vector<Run> next_runs_;
};

}  // namespace gorgon
