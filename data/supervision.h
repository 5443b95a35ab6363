#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/conversations.h"
#include "data/tokenizer.h"

namespace gorgon {

// Why a row cannot be used.
enum class SkipReason : uint8_t { empty, no_assistant, not_supervised, refused_by_template };
std::string_view describe(SkipReason reason);  // "no assistant turn", ...

// A row as tokens, with one label for each: the token itself where it is supervised, else -100.
struct Document {
  std::vector<int32_t> tokens;
  std::vector<int32_t> labels;
  std::optional<SkipReason> skipped;
  std::string why;  // what the template said, where it refused
};

// Tokens and labels of one row.
//   text       bos first where the model's tokenizer adds it (and the text does not begin with it), then the
//   text; no
//              eos: the document ends as its text ends. Every token is supervised.
//   messages   the rendered chat template, which writes bos and ends of turns itself. A token is supervised
//   where all
//              its bytes lie in what an assistant wrote, the end of the turn included; one that straddles the
//              border is prompt. With assistant_only_loss false, every token is.
//   input_ids  as they are, with the labels they came with.
// assistant_only_loss: unset is true for messages and false for text; true leaves no use for a row of text.
// Throws Error(model) for messages when the model has no template (nullptr).
Document make_document(const Row& row, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                       std::optional<bool> assistant_only_loss);

// The rule for messages, on its own: labels of spans of a text, supervised within ranges [begin, end) of
// bytes. Both ascend.
std::vector<int32_t> labels_within(const std::vector<TokenSpan>& tokens,
                                   const std::vector<std::pair<int64_t, int64_t>>& ranges);

}  // namespace gorgon
