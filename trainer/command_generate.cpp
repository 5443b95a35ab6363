#include <cstdio>
#include <iostream>

#include <fmt/format.h>
#include <unistd.h>

#include "data/unicode.h"
#include "kernels/error.h"
#include "model/decoder.h"
#include "trainer/answer_stream.h"
#include "trainer/commands.h"
#include "trainer/decode_inputs.h"

namespace gorgon {
namespace {

constexpr const char* kAccepted = "\033[32m";
constexpr const char* kReset = "\033[0m";

// Writes an answer as it comes. On a terminal what a draft got right is green: the rest was one token a step.
class AnswerPrinter {
 public:
  AnswerPrinter(const Tokenizer& tokenizer, bool colour) : stream_(tokenizer), colour_(colour) {}

  void operator()(std::span<const int32_t> tokens) {
    write(stream_.put(tokens.first(1)), false);
    write(stream_.put(tokens.subspan(1)), true);
    std::fflush(stdout);
  }
  void end() {
    write(stream_.end(), false);
    std::fputs("\n", stdout);
    std::fflush(stdout);  // before what goes to stderr
  }

 private:
  void write(const std::string& text, bool accepted) const {
    if (text.empty()) return;
    if (colour_ && accepted) std::fputs(kAccepted, stdout);
    std::fwrite(text.data(), 1, text.size(), stdout);
    if (colour_ && accepted) std::fputs(kReset, stdout);
  }

  AnswerStream stream_;
  bool colour_;
};

std::string speed_line(const std::string& name, const Answer& answer) {
  const auto tokens = static_cast<double>(answer.tokens.size());
  return fmt::format(
      "{}: {} tokens in {} steps, {:.2f} a step, {:.1f} tokens/s (prompt: {} new tokens in {:.2f} s)\n", name,
      answer.tokens.size(), answer.emitted.size(), tokens / static_cast<double>(answer.emitted.size()),
      tokens / answer.decode_seconds, answer.prefilled, answer.prefill_seconds);
}

// Everything that stays the same from question to question.
struct Session {
  const Backbone& backbone;
  const DraftHeads& heads;
  const TextModel& text;
  const Stream& stream;
  DecoderOptions options;
  bool compare;
};

// What a chat goes on from, in the cache of each way to decode.
struct Memory {
  KeptText drafted, plain;
};

std::string answer_prompt(const Session& session, const Prompt& prompt, Memory& memory) {
  const bool colour = wants_colour(stdout);
  AnswerPrinter printer(session.text.tokenizer, colour);
  Decoder decoder(session.backbone, &session.heads, session.options, session.stream);
  const Answer answer = decoder.answer(
      prompt.tokens, [&](const DecodeRequest&, std::span<const int32_t> tokens) { printer(tokens); },
      &memory.drafted);
  printer.end();
  if (session.compare) {
    DecoderOptions plain = session.options;
    plain.tree = chain_tree(0);
    plain.lookup = false;
    Decoder plainly(session.backbone, nullptr, plain, session.stream);
    const Answer alone = plainly.answer(prompt.tokens, {}, &memory.plain);
    const double speedup = alone.decode_seconds / static_cast<double>(alone.tokens.size()) /
                           (answer.decode_seconds / static_cast<double>(answer.tokens.size()));
    fmt::print("{}{}{:.2f} times as fast, {}\n", speed_line("plain ", alone), speed_line("medusa", answer),
               speedup,
               session.options.temperature > 0 ? "sampled: not comparable"
               : alone.tokens == answer.tokens ? "the same tokens"
                                               : "other tokens");
  }
  return answer_text(session.text.tokenizer, answer.tokens);
}

void require_typed_text(const std::string& what, const std::string& line) {
  const auto place = find_invalid_utf8(line);
  if (!place) return;
  fail(ExitCode::data,
       {at_byte(what, *place), "", "valid UTF-8", quote_value(line.substr(*place, 1)), "type it again"});
}

// A line that cannot be asked is said to be so, and forgotten.
void chat(const Session& session, Console& console) {
  std::vector<Message> messages;
  Memory memory;
  std::string line;
  const bool typed = ::isatty(STDIN_FILENO) != 0;
  const auto invite = [&] {
    if (typed) fmt::print(stderr, "> ");
  };
  while (invite(), std::getline(std::cin, line)) {
    if (line.empty()) continue;
    const size_t before = messages.size();
    try {
      require_typed_text("the line", line);
      messages.push_back({"user", line});
      const std::string answer = answer_prompt(session, make_prompt(messages, session.text), memory);
      // A cap may have cut it inside a character.
      messages.push_back({"assistant", replace_invalid_utf8(answer)});
    } catch (const Error& error) {
      if (error.code() != ExitCode::data) throw;
      messages.resize(before);
      console.warn(error.what());
    }
  }
  if (typed) fmt::print(stderr, "\n");
}

}  // namespace

int generate_command(const GenerateArguments& arguments, Console& console) {
  require_typed_text("--prompt", arguments.prompt);
  require_readable({}, arguments.tree);
  const DecodeInputs inputs(arguments.heads, arguments.model, arguments.dtype, arguments.heads_dtype, console,
                            nullptr);
  DecoderOptions options;
  options.tree = find_tree(inputs.found, arguments.tree, inputs.heads.count(), console);
  options.lookup = arguments.lookup;
  options.max_new_tokens = arguments.max_new_tokens;
  options.stop_tokens = stop_tokens(inputs.text);
  options.temperature = arguments.temperature;
  options.top_p = arguments.top_p;
  options.seed = arguments.seed;
  const Session session{inputs.backbone, inputs.heads, inputs.text,
                        inputs.stream,   options,      arguments.compare};
  if (arguments.chat) {
    chat(session, console);
  } else {
    Memory memory;
    answer_prompt(session, make_prompt({{"user", arguments.prompt}}, inputs.text), memory);
  }
  return 0;
}

}  // namespace gorgon
