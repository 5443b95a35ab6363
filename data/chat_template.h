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

// Text of a conversation and the byte ranges of it that an assistant wrote: what the model has to generate
// after the generation prompt, that is content and end-of-turn marker. The header of the turn is not of it
// ("<|im_start|>assistant\n" is prompt, "...<|im_end|>" is answer), nor is what only separates the turn from
// the next one ("\n" behind "<|im_end|>"); a space that the template puts between prompt and answer (Llama 2)
// is.
struct RenderedChat {
  std::string text;
  std::vector<std::pair<int64_t, int64_t>> assistant;  // [begin, end) in bytes, ascending
};

// A model's chat template, run from its own Jinja text with the settings of transformers (trim_blocks,
// lstrip_blocks). The part of Jinja that chat templates use (docs/chat_templates.md); what is beyond it is an
// Error(model) that names it, when the template is parsed. The template sees messages, add_generation_prompt,
// bos_token, eos_token, and tools and documents as none. Const and usable from several threads.
class ChatTemplate {
 public:
  ChatTemplate(std::string_view source, std::string bos_token, std::string eos_token, std::string file);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // Throws Error(data) where the template itself raises (raise_exception) or a message does not fit it, and
  // Error(model) where it does not come to an end.
  std::string render(const std::vector<Message>& messages, bool add_generation_prompt) const;

  // Takes the assistant's bytes from {% generation %} blocks, as they are, where the template has them. Else
  // turn by turn: an answer is what the template adds to the generation prompt when the answer joins the
  // messages. It ends with eos_token where that follows the content, else with the last character of the turn
  // that is no white space. Where a turn's text depends on the turns behind it (Qwen 3), or the template has
  // no generation prompt there, markers in the place of the answers tell where they stand; then what the
  // template writes before the content is header. Throws as render() does, and Error(data) where an answer
  // cannot be found because the template changes more of it than white space around it.
  RenderedChat render_chat(const std::vector<Message>& messages) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gorgon
