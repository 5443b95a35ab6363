#include "data/preview.h"

#include <array>
#include <span>
#include <string_view>
#include <utility>

#include <utf8proc.h>

#include "kernels/error.h"

namespace gorgon {

namespace {

enum class Mark : uint8_t { supervised, masked, clipped };

struct Style {
  std::string_view begin, end;
};

Style style_of(Mark mark, bool colour) {
  switch (mark) {
    case Mark::supervised:
      return colour ? Style{"\x1b[32m", "\x1b[0m"} : Style{"«", "»"};
    case Mark::masked:
      return colour ? Style{"\x1b[90m", "\x1b[0m"} : Style{"", ""};
    case Mark::clipped:
      return colour ? Style{"\x1b[31;9m", "\x1b[0m"} : Style{"[-", "-]"};
  }
  return {};
}

// Text as it is, but for control characters (a terminal would obey them) and bytes that are no UTF-8.
std::string printable(std::string_view text) {
  std::string out;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t point = -1;
    const auto left = static_cast<utf8proc_ssize_t>(text.size() - i);
    const utf8proc_ssize_t length = utf8proc_iterate(bytes + i, left, &point);
    const bool control =
        length > 0 && utf8proc_category(point) == UTF8PROC_CATEGORY_CC && point != '\n' && point != '\t';
    // Formats can reorder what is shown; the joiner of emoji (U+200D) cannot.
    const bool format = length > 0 && point != 0x200d && utf8proc_category(point) == UTF8PROC_CATEGORY_CF;
    const size_t taken = length > 0 ? static_cast<size_t>(length) : 1;
    if (length > 0 && !control && !format) {
      out.append(text.substr(i, taken));
    } else {
      constexpr std::string_view kDigits = "0123456789abcdef";
      for (size_t k = i; k < i + taken; ++k) {
        out += "\\x";
        out += kDigits[bytes[k] >> 4];
        out += kDigits[bytes[k] & 15];
      }
    }
    i += taken;
  }
  return out;
}

// Counts tokens through the data as the packer does.
class Painter {
 public:
  Painter(const PrepareOptions& options, const Tokenizer& tokenizer, bool colour)
      : options_(options), tokenizer_(tokenizer), colour_(colour) {}

  std::string legend() const {
    std::string text;
    for (const auto& [mark, meaning] :
         {std::pair(Mark::supervised, "supervised"), std::pair(Mark::masked, "masked"),
          std::pair(Mark::clipped, "clipped")}) {
      const Style style = style_of(mark, colour_);
      text += (text.empty() ? "" : "  ") + std::string(style.begin) + meaning + std::string(style.end);
    }
    if (options_.packing == Packing::wrapped) {
      text += "  │ end of a sequence of " + std::to_string(options_.max_seq_length) + " tokens";
    }
    return text + "\n";
  }

  std::string paint(const DataLine& line, const Document& document) {
    std::array<int64_t, 3> counts{};
    std::string text;
    const size_t n = document.tokens.size();
    for (size_t begin = 0; begin < n;) {
      const Mark mark = mark_of(document, begin);
      size_t end = begin;
      bool cut = false;
      while (end < n && !cut && mark_of(document, end) == mark) {
        ++end;
        cut = options_.packing == Packing::wrapped && ++position_ % options_.max_seq_length == 0;
      }
      const Style style = style_of(mark, colour_);
      text += std::string(style.begin) +
              printable(tokenizer_.decode(std::span(document.tokens).subspan(begin, end - begin))) +
              std::string(style.end) + (cut ? "│" : "");
      counts[static_cast<size_t>(mark)] += static_cast<int64_t>(end - begin);
      begin = end;
    }
    return "\n" + at_line(line.file, line.number) + ": " + std::to_string(n) + " tokens, " +
           std::to_string(counts[0]) + " supervised, " + std::to_string(counts[1]) + " masked, " +
           std::to_string(counts[2]) + " clipped\n" + text + "\n";
  }

 private:
  Mark mark_of(const Document& document, size_t i) const {
    if (options_.packing == Packing::none && static_cast<int64_t>(i) >= options_.max_seq_length)
      return Mark::clipped;
    return document.labels[i] == -100 ? Mark::masked : Mark::supervised;
  }

  const PrepareOptions& options_;
  const Tokenizer& tokenizer_;
  bool colour_;
  int64_t position_ = 0;  // tokens of all documents so far
};

}  // namespace

std::string preview(const PrepareOptions& options, const Tokenizer& tokenizer,
                    const ChatTemplate* chat_template, int64_t documents, bool colour) {
  Painter painter(options, tokenizer, colour);
  LineSource source(expand_data_files(options.files));
  std::string text = painter.legend();
  DataLine line;
  while (documents > 0 && source.next(line)) {
    const Document document = make_document(parse_row(line, tokenizer.vocab_size(), options.columns),
                                            tokenizer, chat_template, options.assistant_only_loss);
    if (document.skipped) {
      text += "\n" + at_line(line.file, line.number) + ": skipped, " +
              std::string(describe(*document.skipped)) + "\n";
      continue;
    }
    text += painter.paint(line, document);
    --documents;
  }
  return text;
}

}  // namespace gorgon
