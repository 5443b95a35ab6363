#include "data/supervision.h"

#include <algorithm>
#include <utility>

#include "kernels/error.h"

namespace gorgon {

namespace {

Document skip(SkipReason reason, std::string why = "") {
  Document document;
  document.skipped = reason;
  document.why = std::move(why);
  return document;
}

Document checked(Document document) {
  if (document.skipped) return document;
  if (document.tokens.empty()) return skip(SkipReason::empty);
  const auto supervised = [](int32_t label) { return label != -100; };
  if (std::none_of(document.labels.begin(), document.labels.end(), supervised)) {
    return skip(SkipReason::not_supervised);
  }
  return document;
}

Document from_text(const std::string& text, const Tokenizer& tokenizer) {
  Document document;
  document.tokens = tokenizer.encode(text);
  if (document.tokens.empty()) return document;
  if (tokenizer.adds_bos() && document.tokens.front() != tokenizer.bos_id()) {
    document.tokens.insert(document.tokens.begin(), tokenizer.bos_id());
  }
  document.labels = document.tokens;
  return document;
}

Document from_messages(const std::vector<Message>& messages, const Tokenizer& tokenizer,
                       const ChatTemplate& chat_template, bool assistant_only) {
  RenderedChat chat;
  try {
    chat = chat_template.render_chat(messages);
  } catch (const Error& error) {
    if (error.code() != ExitCode::data) throw;
    return skip(SkipReason::refused_by_template, error.what());
  }
  const std::vector<TokenSpan> spans = tokenizer.encode_with_spans(chat.text);
  Document document;
  for (const TokenSpan& span : spans) document.tokens.push_back(span.id);
  document.labels = assistant_only ? labels_within(spans, chat.assistant) : document.tokens;
  return document;
}

}  // namespace

std::string_view describe(SkipReason reason) {
  switch (reason) {
    case SkipReason::empty:
      return "no token";
    case SkipReason::no_assistant:
      return "no assistant turn";
    case SkipReason::not_supervised:
      return "no supervised token";
    case SkipReason::refused_by_template:
      return "refused by the chat template";
  }
  return "";
}

std::vector<int32_t> labels_within(const std::vector<TokenSpan>& tokens,
                                   const std::vector<std::pair<int64_t, int64_t>>& ranges) {
  std::vector<int32_t> labels;
  labels.reserve(tokens.size());
  auto range = ranges.begin();
  for (const TokenSpan& token : tokens) {
    while (range != ranges.end() && range->second <= token.begin) ++range;
    const bool inside = range != ranges.end() && token.begin >= range->first && token.end <= range->second;
    labels.push_back(inside ? token.id : -100);
  }
  return labels;
}

Document make_document(const Row& row, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                       std::optional<bool> assistant_only_loss) {
  if (const auto* tokens = std::get_if<TokenRow>(&row)) {
    return checked({.tokens = tokens->tokens, .labels = tokens->labels, .skipped = {}, .why = {}});
  }
  if (const auto* text = std::get_if<std::string>(&row)) {
    if (assistant_only_loss.value_or(false)) return skip(SkipReason::no_assistant);
    return checked(from_text(*text, tokenizer));
  }
  const auto& messages = std::get<std::vector<Message>>(row);
  const bool assistant_only = assistant_only_loss.value_or(true);
  if (messages.empty()) return skip(SkipReason::empty);
  const auto answers = [](const Message& message) { return message.role == "assistant"; };
  if (assistant_only && std::none_of(messages.begin(), messages.end(), answers))
    return skip(SkipReason::no_assistant);
  if (chat_template == nullptr) {
    fail(ExitCode::model,
         {.place = "",
          .key = "chat_template",
          .expected = "a chat template beside the model's tokenizer, as the data has \"messages\"",
          .found = "none",
          .remedy = "use a chat model, or rows of \"text\""});
  }
  return checked(from_messages(messages, tokenizer, *chat_template, assistant_only));
}

}  // namespace gorgon
