#include "data/aligned_text.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include <utf8proc.h>

#include "kernels/error.h"

namespace gorgon {
namespace {

int form_options(std::string_view form) {
  const int compose = form == "NFC" || form == "NFKC" ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  return UTF8PROC_STABLE | compose | (form.find('K') != form.npos ? UTF8PROC_COMPAT : 0);
}

struct FreeBytes {
  void operator()(utf8proc_uint8_t* bytes) const { std::free(bytes); }
};

// Bytes of the run of characters at `at` that normalisation may change together: one starter and what may
// combine with it. ASCII letters start a run, since an accent may follow.
size_t run_length(std::string_view text, size_t at) {
  size_t end = at;
  while (end < text.size()) {
    utf8proc_int32_t character;
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data() + end);
    const auto length = utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - end), &character);
    if (length <= 0) fail_internal("AlignedText::normalise", "invalid UTF-8");
    // Besides accents: spacing vowel signs, Hangul vowels and finals, and the half-width forms of both kinds.
    const utf8proc_property_t* property = utf8proc_get_property(character);
    const bool mark = property->combining_class != 0 || property->category == UTF8PROC_CATEGORY_MC;
    const bool half = character >= 0x1160 && character <= 0x11FF;
    const bool narrow = character >= 0xFF9E && character <= 0xFFDC;
    const bool joins = mark || half || narrow;
    if (end > at && !joins) break;
    end += static_cast<size_t>(length);
  }
  return end - at;
}

}  // namespace

const AlignedText::Run& AlignedText::run_of(size_t place) const {
  const auto behind = std::upper_bound(runs_.begin(), runs_.end(), place,
                                       [](size_t value, const Run& run) { return value < run.at; });
  return *(behind - 1);
}

ByteRange AlignedText::origin(size_t begin, size_t end) const {
  if (!edited_) return {offset_ + static_cast<int64_t>(begin), offset_ + static_cast<int64_t>(end)};
  if (begin == end) return {offset_, offset_};
  const Run& first = run_of(begin);
  const Run& last = run_of(end - 1);
  return {first.copied ? first.begin + static_cast<int64_t>(begin - first.at) : first.begin,
          last.copied ? last.begin + static_cast<int64_t>(end - last.at) : last.end};
}

AlignedText AlignedText::part(size_t begin, size_t end) const {
  const int64_t offset = begin < end ? origin(begin, begin + 1).begin : offset_;
  AlignedText out(text().substr(begin, end - begin), offset);
  if (!edited_ || begin == end) return out;
  out.edited_ = true;
  out.own_ = own_.substr(begin, end - begin);
  for (const Run* run = &run_of(begin); run != runs_.data() + runs_.size() && run->at < end; ++run) {
    Run cut = *run;
    if (cut.copied && cut.at < begin) cut.begin += static_cast<int64_t>(begin - cut.at);
    cut.at = cut.at < begin ? 0 : cut.at - begin;
    out.runs_.push_back(cut);
  }
  return out;
}

void AlignedText::begin_edit() {
  next_.clear();
  next_runs_.clear();
  next_.reserve(text().size() + text().size() / 4 + 16);
}

void AlignedText::keep(size_t begin, size_t end) {
  if (begin == end) return;
  if (!edited_) {
    next_runs_.push_back({next_.size(), offset_ + static_cast<int64_t>(begin), 0, true});
  } else {
    for (const Run* run = &run_of(begin); run != runs_.data() + runs_.size() && run->at < end; ++run) {
      const size_t from = std::max(run->at, begin);
      Run moved = *run;
      if (moved.copied) moved.begin += static_cast<int64_t>(from - run->at);
      moved.at = next_.size() + (from - begin);
      next_runs_.push_back(moved);
    }
  }
  next_ += text().substr(begin, end - begin);
}

void AlignedText::put(std::string_view content, size_t begin, size_t end) {
  if (content.empty()) return;
  ByteRange range = begin < end ? origin(begin, end) : ByteRange{offset_, offset_};
  if (begin == end && begin < text().size()) range = origin(begin, begin + 1);
  if (begin == end && begin > 0 && begin == text().size()) range.begin = origin(begin - 1, begin).end;
  if (begin == end) range.end = range.begin;
  next_runs_.push_back({next_.size(), range.begin, range.end, false});
  next_ += content;
}

void AlignedText::end_edit() {
  own_.swap(next_);
  runs_.swap(next_runs_);
  edited_ = true;
  next_ = {};
  next_runs_ = {};
}

void AlignedText::insert(const std::vector<size_t>& places, std::string_view content) {
  begin_edit();
  size_t done = 0;
  for (const size_t place : places) {
    keep(done, place);
    put(content, place, place);
    done = place;
  }
  keep(done, text().size());
  end_edit();
}

void AlignedText::replace(std::string_view pattern, std::string_view content) {
  if (pattern.empty() || text().find(pattern) == std::string_view::npos) return;
  begin_edit();
  size_t done = 0;
  for (size_t at; (at = text().find(pattern, done)) != std::string_view::npos;) {
    keep(done, at);
    put(content, at, at + pattern.size());
    done = at + pattern.size();
  }
  keep(done, text().size());
  end_edit();
}

void AlignedText::normalise(std::string_view form) {
  bool ascii = true;
  for (const char c : text()) ascii = ascii && static_cast<unsigned char>(c) < 0x80;
  if (ascii) return;  // every form leaves ASCII as it is
  begin_edit();
  for (size_t at = 0; at < text().size();) {
    const size_t length = run_length(text(), at);
    utf8proc_uint8_t* bytes = nullptr;
    const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text().data() + at),
                                   static_cast<utf8proc_ssize_t>(length), &bytes,
                                   static_cast<utf8proc_option_t>(form_options(form)));
    const std::unique_ptr<utf8proc_uint8_t, FreeBytes> owner(bytes);
    if (size < 0) fail_internal("AlignedText::normalise", utf8proc_errmsg(size));
    const std::string_view mapped(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    mapped == text().substr(at, length) ? keep(at, at + length) : put(mapped, at, at + length);
    at += length;
  }
  end_edit();
}

}  // namespace gorgon
