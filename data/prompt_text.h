#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/conversations.h"
#include "data/tokenizer.h"

namespace gorgon {

// The turns that ask for the last answer: all but an assistant's at the end.
std::vector<Message> asked_turns(const std::vector<Message>& messages);

// Tokens in front of the first label, as many as there are.
int64_t prompt_length(const TokenRow& row);

// The text by which splits and duplicates go: of a conversation its prompt as the template renders it, the
// header of the answer included; of tokens their prompt, decoded, or all of them where labels begin with the
// first; of a text the text itself. Nothing where there is no template or where it refuses the row.
std::optional<std::string> prompt_text(const Row& row, const Tokenizer& tokenizer,
                                       const ChatTemplate* chat_template);

}  // namespace gorgon
