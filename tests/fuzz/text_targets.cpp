#include <string>
#include <string_view>

#include "data/chat_template.h"
#include "data/tokenizer.h"
#include "tests/data/temporary_directory.h"
#include "tests/fuzz/oracle.h"
#include "tests/fuzz/targets.h"

namespace gorgon {
namespace {

void check_spans(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.encode(text);
  const std::vector<TokenSpan> tokens = tokenizer.encode_with_spans(text);
  check(tokens.size() == ids.size(), "spans are not those of the ids");
  const auto size = static_cast<int64_t>(text.size());
  int64_t before = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const TokenSpan& token = tokens[i];
    const bool inside = token.begin >= before && token.end >= token.begin && token.end <= size;
    check(token.id == ids[i] && inside, "a span out of place");
    before = token.begin;
  }
  tokenizer.decode(ids);
}

}  // namespace

void fuzz_tokenizer_json(std::span<const std::byte> bytes) {
  static const TemporaryDirectory folder;
  folder.write("tokenizer.json", text_of(bytes));
  accept_errors({ExitCode::model, ExitCode::data}, [] {
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
    accept_errors({ExitCode::model, ExitCode::data}, [&] { check_spans(*tokenizer, text); });
  }
  accept_errors({ExitCode::model, ExitCode::data}, [&] {
    const std::vector<int32_t> ids = byte_level.encode(text);
    // <mask> takes white space along; all else comes back.
    const bool whole = text.find("<mask>") == std::string::npos;
    check(!whole || byte_level.decode(ids) == text, "text lost");
  });
}

void fuzz_chat_template(std::span<const std::byte> bytes) {
  accept_errors({ExitCode::model, ExitCode::data}, [&] {
    const ChatTemplate chat(text_of(bytes), "<s>", "</s>", "input");
    accept_errors({ExitCode::model, ExitCode::data}, [&] {
      chat.render({{"user", "a b"}, {"assistant", " c "}}, true);
    });
    const RenderedChat rendered = chat.render_chat(
        {{"system", "s"}, {"user", "\u00e9"}, {"assistant", "x\n"}, {"user", "u"}, {"assistant", ""}});
    int64_t before = 0;
    for (const auto& [begin, end] : rendered.assistant) {
      const bool inside =
          begin >= before && end >= begin && end <= static_cast<int64_t>(rendered.text.size());
      check(inside, "an answer out of place");
      before = end;
    }
  });
}

}  // namespace gorgon
