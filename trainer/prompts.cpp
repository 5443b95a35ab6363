#include "trainer/prompts.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <unordered_set>
#include <variant>

#include <fmt/format.h>

#include "data/prompt_text.h"
#include "kernels/error.h"
#include "trainer/console.h"

namespace gorgon {
namespace {

constexpr const char* kNoPrompt = "no prompt";
constexpr const char* kEmptyPrompt = "an empty prompt";

// A row's prompt, or why it has none.
struct Found {
  std::optional<Prompt> prompt;
  std::string reason;
};

Found of_messages(const std::vector<Message>& messages, const TextModel& text) {
  const std::vector<Message> asked = asked_turns(messages);
  const bool has_user =
      std::any_of(asked.begin(), asked.end(), [](const Message& m) { return m.role == "user"; });
  if (!has_user) return {std::nullopt, kNoPrompt};
  const Message& last = asked.back();
  if (last.role == "user" && last.content.find_first_not_of(" \t\r\n") == std::string::npos)
    return {std::nullopt, kEmptyPrompt};
  try {
    return {make_prompt(asked, text), ""};
  } catch (const Error& error) {
    if (error.code() != ExitCode::data) throw;
    return {std::nullopt, "refused by the chat template"};
  }
}

Found of_tokens(const TokenRow& row, const TextModel& text) {
  const auto length = prompt_length(row);
  const auto first = row.labels.begin() + length;
  if (length == 0) return {std::nullopt, kNoPrompt};
  Prompt prompt;
  prompt.tokens.assign(row.tokens.begin(), row.tokens.begin() + length);
  prompt.text = text.tokenizer.decode(prompt.tokens);
  if (std::all_of(first, row.labels.end(), [](int32_t label) { return label >= 0; })) {
    prompt.answer.assign(first, row.labels.end());
  }
  return {std::move(prompt), ""};
}

Found prompt_of(const Row& row, const TextModel& text) {
  if (const auto* messages = std::get_if<std::vector<Message>>(&row)) return of_messages(*messages, text);
  if (const auto* tokens = std::get_if<TokenRow>(&row)) return of_tokens(*tokens, text);
  return {std::nullopt, "text without a prompt"};
}

std::vector<int32_t> known_tokens(const Tokenizer& tokenizer, std::span<const int32_t> tokens) {
  std::vector<int32_t> known;
  std::copy_if(tokens.begin(), tokens.end(), std::back_inserter(known),
               [&](int32_t token) { return token < tokenizer.vocab_size(); });
  return known;
}

}  // namespace

Prompt make_prompt(const std::vector<Message>& messages, const TextModel& text) {
  if (text.chat_template() == nullptr) {
    fail(ExitCode::model, {"model", "chat template", "a template to ask with", "none",
                           "use a model that was tuned for chats, or rows of input_ids and labels"});
  }
  Prompt prompt;
  prompt.messages = messages;
  prompt.text = text.chat_template()->render(messages, true);
  prompt.tokens = text.tokenizer.encode(prompt.text);
  text.tokenizer.require_rows(prompt.tokens, text.vocabulary);
  return prompt;
}

PromptSet read_prompts(const std::vector<std::string>& files, const TextModel& text, int64_t vocabulary,
                       int64_t max_tokens, const RowColumns& columns) {
  PromptSet set;
  LineSource lines(expand_data_files(files));
  std::unordered_set<std::string> seen;
  DataLine line;
  while (lines.next(line)) {
    Found found = prompt_of(parse_row(line, vocabulary, columns), text);
    if (found.prompt && std::cmp_greater(found.prompt->tokens.size(), max_tokens)) {
      found = {std::nullopt, fmt::format("longer than {} tokens", max_tokens)};
    } else if (found.prompt && !seen.insert(found.prompt->text).second) {
      found = {std::nullopt, "a duplicate"};
    }
    if (found.prompt) {
      set.prompts.push_back(std::move(*found.prompt));
    } else {
      ++set.left_out[found.reason];
    }
  }
  set.sha256 = lines.sha256();
  return set;
}

void require_prompts(const PromptSet& set, const std::string& file) {
  if (!set.prompts.empty()) return;
  fail(ExitCode::data,
       {file, "", "prompts to answer", set.left_out.empty() ? "no rows" : describe_left_out(set),
        "give rows of messages, or of input_ids and labels"});
}

std::string describe_left_out(const PromptSet& set) {
  std::string out;
  int64_t rows = 0;
  for (const auto& [reason, count] : set.left_out) {
    rows += count;
    out += fmt::format("{}{} ({})", out.empty() ? "" : ", ", reason, count);
  }
  return rows == 0 ? "" : fmt::format("{} left out: {}", count_of(rows, "row"), out);
}

std::string answer_text(const Tokenizer& tokenizer, std::span<const int32_t> tokens) {
  return tokenizer.decode(known_tokens(tokenizer, tokens), true);
}

std::string continued_answer_text(const Tokenizer& tokenizer, std::span<const int32_t> tokens) {
  return tokenizer.decode_continued(known_tokens(tokenizer, tokens), true);
}

std::vector<int32_t> stop_tokens(const TextModel& text) {
  std::vector<int32_t> stops;
  if (text.tokenizer.eos_id() >= 0) stops.push_back(text.tokenizer.eos_id());
  if (text.chat_template() == nullptr) return stops;
  // What the template writes behind an answer, if that is a single token of the vocabulary.
  const std::string content = "an answer";
  const RenderedChat chat =
      text.chat_template()->render_chat({{"user", "a question"}, {"assistant", content}});
  if (chat.assistant.empty()) return stops;
  const auto [begin, end] = chat.assistant.back();
  const std::string answer = chat.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  const size_t at = answer.rfind(content);
  if (at == std::string::npos) return stops;
  std::string marker = answer.substr(at + content.size());
  while (!marker.empty() && (marker.back() == '\n' || marker.back() == ' ')) marker.pop_back();
  const std::vector<int32_t> ids = text.tokenizer.encode(marker);
  if (ids.size() == 1 && std::find(stops.begin(), stops.end(), ids[0]) == stops.end())
    stops.push_back(ids[0]);
  return stops;
}

}  // namespace gorgon
