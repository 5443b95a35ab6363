#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gorgon {

struct Message {
  std::string role;  // system, user, assistant, tool
  std::string content;
};

// Text of a conversation and the byte ranges of it that an assistant wrote: content and end-of-turn marker,
// the header of the turn not ("<|im_start|>assistant\n" is prompt, "...<|im_end|>" is answer).
struct RenderedChat {
  std::string text;
  std::vector<std::pair<int64_t, int64_t>> assistant;  // [begin, end) in bytes, ascending
};

// A model's chat template, run from its own Jinja text. The part of Jinja that chat templates use; an
// expression beyond it is an Error(model) that names it, when the template is parsed.
class ChatTemplate {
 public:
  ChatTemplate(std::string_view source, std::string bos_token, std::string eos_token, std::string file);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // Throws Error(data) where the template itself raises (raise_exception) or a role does not fit.
  std::string render(const std::vector<Message>& messages, bool add_generation_prompt) const;

  // Finds the assistant's bytes by {% generation %} blocks where the template has them, else by rendering the
  // conversation turn by turn.
  RenderedChat render_chat(const std::vector<Message>& messages) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gorgon
