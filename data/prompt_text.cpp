#include "data/prompt_text.h"

#include <algorithm>

#include "kernels/error.h"

namespace gorgon {

std::vector<Message> asked_turns(const std::vector<Message>& messages) {
  auto end = messages.end();
  if (!messages.empty() && messages.back().role == "assistant") --end;
  return {messages.begin(), end};
}

int64_t prompt_length(const TokenRow& row) {
  return std::find_if(row.labels.begin(), row.labels.end(), [](int32_t label) { return label >= 0; }) -
         row.labels.begin();
}

std::optional<std::string> prompt_text(const Row& row, const Tokenizer& tokenizer,
                                       const ChatTemplate* chat_template) {
  if (const auto* text = std::get_if<std::string>(&row)) return *text;
  if (const auto* tokens = std::get_if<TokenRow>(&row)) {
    const int64_t length = prompt_length(*tokens);
    const auto end = length > 0 ? tokens->tokens.begin() + length : tokens->tokens.end();
    return tokenizer.decode({tokens->tokens.begin(), end});
  }
  if (chat_template == nullptr) return std::nullopt;
  try {
    return chat_template->render(asked_turns(std::get<std::vector<Message>>(row)), true);
  } catch (const Error& error) {
    if (error.code() != ExitCode::data) throw;
    return std::nullopt;
  }
}

}  // namespace gorgon
