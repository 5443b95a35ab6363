#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "data/chat_template.h"
#include "data/tokenizer.h"
#include "kernels/error.h"
#include "tests/data/temporary_directory.h"
#include "tests/fuzz/targets.h"

namespace gorgon {
namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A line of text about the model or the data is as good as a value.
template <typename Target>
void accept_typed_errors(Target target) {
  try {
    target();
  } catch (const Error& error) {
    const std::string_view line = error.what();
    const bool one_line =
        std::all_of(line.begin(), line.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
    const bool typed = error.code() == ExitCode::model || error.code() == ExitCode::data;
    if (!typed || line.empty() || !one_line) throw std::logic_error("an error of the wrong kind");
  }
}

void check_spans(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.encode(text);
  const std::vector<TokenSpan> tokens = tokenizer.encode_with_spans(text);
  if (tokens.size() != ids.size()) throw std::logic_error("spans are not those of the ids");
  const auto size = static_cast<int64_t>(text.size());
  int64_t before = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const TokenSpan& token = tokens[i];
    const bool inside = token.begin >= before && token.end >= token.begin && token.end <= size;
    if (token.id != ids[i] || !inside) throw std::logic_error("a span out of place");
    before = token.begin;
  }
  tokenizer.decode(ids);
}

}  // namespace

void fuzz_tokenizer_json(std::span<const std::byte> bytes) {
  static const TemporaryDirectory folder;
  std::ofstream(folder.path() / "tokenizer.json", std::ios::trunc) << text_of(bytes);
  accept_typed_errors([] {
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    check_spans(tokenizer, "ab a<e> \u00e9e\u0301 12  \n\u2581x <s>hi</s> o1");
  });
}

void fuzz_encode(std::span<const std::byte> bytes) {
  static const Tokenizer byte_level = Tokenizer::load("tests/golden/tokenizer/llama3");
  static const Tokenizer composed = Tokenizer::load("tests/golden/tokenizer/qwen2");
  static const Tokenizer sentence_piece = Tokenizer::load("tests/golden/tokenizer/zephyr");
  const std::string text = text_of(bytes);
  for (const Tokenizer* tokenizer : {&byte_level, &composed, &sentence_piece}) {
    accept_typed_errors([&] { check_spans(*tokenizer, text); });
  }
  accept_typed_errors([&] {
    const std::vector<int32_t> ids = byte_level.encode(text);
    // <mask> takes white space along; all else comes back.
    const bool whole = text.find("<mask>") == std::string::npos;
    if (whole && byte_level.decode(ids) != text) throw std::logic_error("text lost");
  });
}

void fuzz_chat_template(std::span<const std::byte> bytes) {
  accept_typed_errors([&] {
    const ChatTemplate chat(text_of(bytes), "<s>", "</s>", "input");
    accept_typed_errors([&] { chat.render({{"user", "a b"}, {"assistant", " c "}}, true); });
    const RenderedChat rendered = chat.render_chat(
        {{"system", "s"}, {"user", "\u00e9"}, {"assistant", "x\n"}, {"user", "u"}, {"assistant", ""}});
    int64_t before = 0;
    for (const auto& [begin, end] : rendered.assistant) {
      const bool inside =
          begin >= before && end >= begin && end <= static_cast<int64_t>(rendered.text.size());
      if (!inside) throw std::logic_error("an answer out of place");
      before = end;
    }
  });
}

}  // namespace gorgon
