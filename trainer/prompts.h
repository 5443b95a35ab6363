#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "data/conversations.h"
#include "data/splits.h"
#include "trainer/data_sets.h"

namespace gorgon {

// What a model is asked: everything before the last answer of a row.
struct Prompt {
  std::vector<int32_t> tokens;
  std::string text;               // rendered; of a row of tokens, decoded. Splits and duplicates go by it.
  std::vector<Message> messages;  // of a conversation
  std::vector<int32_t> answer;    // of a row of tokens whose labels run to its end: those labels
};

struct PromptSet {
  std::vector<Prompt> prompts;              // without duplicates, in the order of the files
  std::map<std::string, int64_t> left_out;  // rows by reason
  std::string sha256;                       // of the files
};

// Prompts of JSONL files. A conversation's prompt ends before its last assistant turn (or at its end, where a
// user speaks last) with the header of the answer; tokens' before their first label. Rows without a prompt,
// of text, and those longer than `max_tokens` are left out and counted. There may be none left. columns: as
// for parse_row.
PromptSet read_prompts(const std::vector<std::string>& files, const TextModel& text, int64_t vocabulary,
                       int64_t max_tokens, const RowColumns& columns = {});
void require_prompts(const PromptSet& set, const std::string& file);  // Error(data) where there is none
std::string describe_left_out(const PromptSet& set);                  // "3 rows left out: ..." or ""

// Where an answer ends: the tokenizer's end of sequence, and the token by which the chat template ends a
// turn.
std::vector<int32_t> stop_tokens(const TextModel& text);

// What a person reads of an answer: no special tokens, and none of the ids that a model has rows for but its
// tokenizer no text (vocabularies are padded).
std::string answer_text(const Tokenizer& tokenizer, std::span<const int32_t> tokens);
// The same of tokens in the midst of an answer (Tokenizer::decode_continued).
std::string continued_answer_text(const Tokenizer& tokenizer, std::span<const int32_t> tokens);

// The prompt of one conversation, the header of the answer included.
Prompt make_prompt(const std::vector<Message>& messages, const TextModel& text);

}  // namespace gorgon
