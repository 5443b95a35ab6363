#include "data/chat_template.h"

#include <algorithm>
#include <optional>

#include "data/jinja_ast.h"
#include "data/jinja_evaluator.h"
#include "data/unicode.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

using Range = std::pair<int64_t, int64_t>;

bool has_generation(const jinja::Body& body) {
  return std::any_of(body.begin(), body.end(), [](const auto& statement) {
    return statement->kind == jinja::Statement::Kind::generation ||
           std::any_of(statement->bodies.begin(), statement->bodies.end(), has_generation);
  });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_white_space(character_at(text, 0).code)) {
    text.remove_prefix(character_at(text, 0).bytes);
  }
  while (!text.empty() && is_white_space(character_before(text, text.size()).code)) {
    text.remove_suffix(character_before(text, text.size()).bytes);
  }
  return text;
}

// Where the answer stands in the text of a turn, as it is or trimmed; nothing where the template changed it.
std::optional<Range> find_answer(std::string_view turn, const std::string& answer) {
  for (const std::string_view content : {std::string_view(answer), trimmed(answer)}) {
    const size_t at = turn.find(content);
    if (at != std::string_view::npos) return Range(at, at + content.size());
  }
  return std::nullopt;
}

}  // namespace

struct ChatTemplate::Impl {
  std::string bos_token, eos_token, file;
  jinja::Body body;
  bool generation = false;

  jinja::Rendered run(const std::vector<Message>& messages, bool add_generation_prompt) const;
  size_t closing(std::string_view tail) const;
  std::optional<Range> turn_by_prefix(const std::vector<Message>& messages, size_t index,
                                      const std::string& text) const;
  std::vector<Range> turns_by_markers(const std::vector<Message>& messages, const std::string& text) const;
};

jinja::Rendered ChatTemplate::Impl::run(const std::vector<Message>& messages,
                                        bool add_generation_prompt) const {
  jinja::List list;
  for (const Message& message : messages) {
    list.emplace_back(jinja::Dict{{"role", message.role}, {"content", message.content}});
  }
  const jinja::Dict variables = {{"messages", std::move(list)},
                                 {"add_generation_prompt", add_generation_prompt},
                                 {"bos_token", bos_token},
                                 {"eos_token", eos_token},
                                 // transformers passes these two when there are none, too
                                 {"tools", jinja::Value::None{}},
                                 {"documents", jinja::Value::None{}}};
  return jinja::Evaluator(file).run(body, variables);
}

// Bytes of what closes a turn: all up to the end-of-turn marker, without what only separates it from the next
// turn ("\n" in ChatML). `tail` is what stands behind the answer when the conversation ends with it.
size_t ChatTemplate::Impl::closing(std::string_view tail) const {
  const size_t eos = eos_token.empty() ? std::string_view::npos : tail.find(eos_token);
  if (eos != std::string_view::npos) return eos + eos_token.size();
  const std::string_view marker = trimmed(tail);
  return marker.empty() ? 0 : static_cast<size_t>(marker.data() + marker.size() - tail.data());
}

// What the template adds to the generation prompt when the answer joins the messages.
std::optional<Range> ChatTemplate::Impl::turn_by_prefix(const std::vector<Message>& messages, size_t index,
                                                        const std::string& text) const {
  try {
    const auto here = messages.begin() + static_cast<std::ptrdiff_t>(index);
    const std::string before = run({messages.begin(), here}, true).text;
    const std::string after = run({messages.begin(), here + 1}, false).text;
    if (!after.starts_with(before)) return std::nullopt;
    const std::string_view turn = std::string_view(after).substr(before.size());
    const auto answer = find_answer(turn, messages[index].content);
    const std::string_view lead = turn.substr(0, answer ? static_cast<size_t>(answer->first) : turn.size());
    // Without a generation prompt what leads to the answer may be the header of the turn.
    if (!trimmed(lead).empty() && run({messages.begin(), here}, false).text == before) return std::nullopt;
    const size_t answer_end = answer ? static_cast<size_t>(answer->second) : 0;
    const size_t end = before.size() + answer_end + closing(turn.substr(answer_end));
    if (text.compare(0, end, after, 0, end) != 0) return std::nullopt;
    return Range(before.size(), end);
  } catch (const Error&) {
    return std::nullopt;  // some templates refuse a conversation that stops there
  }
}

// For templates whose text of a turn changes with what follows: renders the conversation with a marker in the
// place of every answer and finds the answers between the pieces. Empty where that fails.
std::vector<Range> ChatTemplate::Impl::turns_by_markers(const std::vector<Message>& messages,
                                                        const std::string& text) const {
  std::vector<Message> marked = messages;
  const auto marker_of = [](size_t i) {
    return "\xEE\x80\x80" + std::to_string(i) + "\xEE\x80\x81";
  };  // private use
  for (size_t i = 0; i < marked.size(); ++i) {
    if (marked[i].role == "assistant") marked[i].content = marker_of(i);
  }
  const std::string pattern = run(marked, false).text;
  std::vector<Range> turns;
  size_t in_pattern = 0;
  size_t in_text = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != "assistant") continue;
    const size_t marker = pattern.find(marker_of(i), in_pattern);
    if (marker == std::string::npos) return {};
    const std::string_view between = std::string_view(pattern).substr(in_pattern, marker - in_pattern);
    if (text.compare(in_text, between.size(), between) != 0) return {};
    in_text += between.size();
    in_pattern = marker + marker_of(i).size();
    const std::string short_one =
        run({marked.begin(), marked.begin() + static_cast<std::ptrdiff_t>(i) + 1}, false).text;
    const size_t place = short_one.rfind(marker_of(i));
    if (place == std::string::npos) return {};
    const std::string_view tail = std::string_view(short_one).substr(place + marker_of(i).size());
    const std::string_view close = tail.substr(0, closing(tail));
    std::optional<size_t> length;
    for (const std::string_view content :
         {std::string_view(messages[i].content), trimmed(messages[i].content)}) {
      const bool same = text.compare(in_text, content.size(), content) == 0 &&
                        text.compare(in_text + content.size(), close.size(), close) == 0;
      if (same && !length) length = content.size();
    }
    if (!length || pattern.compare(in_pattern, close.size(), close) != 0) return {};
    turns.emplace_back(in_text, in_text + *length + close.size());
    in_text += *length;
  }
  return turns;
}

ChatTemplate::ChatTemplate(std::string_view source, std::string bos_token, std::string eos_token,
                           std::string file)
    : impl_(std::make_unique<Impl>()) {
  impl_->bos_token = std::move(bos_token);
  impl_->eos_token = std::move(eos_token);
  impl_->file = std::move(file);
  impl_->body = jinja::parse(source, impl_->file);
  impl_->generation = has_generation(impl_->body);
}

ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

std::string ChatTemplate::render(const std::vector<Message>& messages, bool add_generation_prompt) const {
  return impl_->run(messages, add_generation_prompt).text;
}

RenderedChat ChatTemplate::render_chat(const std::vector<Message>& messages) const {
  jinja::Rendered rendered = impl_->run(messages, false);
  if (impl_->generation) return {std::move(rendered.text), std::move(rendered.generation)};
  RenderedChat chat{std::move(rendered.text), {}};
  std::vector<Range> by_markers;
  size_t turn = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != "assistant") continue;
    std::optional<Range> range = impl_->turn_by_prefix(messages, i, chat.text);
    if (!range && by_markers.empty()) by_markers = impl_->turns_by_markers(messages, chat.text);
    if (!range && turn < by_markers.size()) range = by_markers[turn];
    const bool ascends = range && (chat.assistant.empty() || chat.assistant.back().second <= range->first);
    if (!ascends) {
      fail(ExitCode::data,
           {impl_->file, "chat_template",
            "the answer of message " + std::to_string(i + 1) + " as it was given",
            "a text that the template changes", "mark the answer by {% generation %} in the template"});
    }
    chat.assistant.push_back(*range);
    ++turn;
  }
  return chat;
}

}  // namespace gorgon
